// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"math"
	"sort"
)

// Perturbation is what all perturbations of one session have in common.
type Perturbation struct {
	Shapes     [][]int // of all tensors, in layout order; a scalar has none
	Seed       uint64
	Sigma      float32
	Rank       int  // 0: DENSE; r >= 1: LOW_RANK(r)
	Rademacher bool // +1 and -1 instead of normals
}

// Counted is a pair that counts in an estimate, with its weight.
type Counted struct {
	Pair   uint32
	Weight float32
}

// NumElements is the length of the flat vector of all parameters.
func (p *Perturbation) NumElements() int {
	sum := 0
	for _, shape := range p.Shapes {
		sum += product(shape)
	}
	return sum
}

// MatrixSigma scales the perturbation of matrices: sigma / sqrt(rank).
func (p *Perturbation) MatrixSigma() float32 {
	return float32(float64(p.Sigma) / math.Sqrt(math.Max(1, float64(p.Rank))))
}

// Displacement returns dW, [NumElements].
func (p *Perturbation) Displacement(generation, pair uint32) []float32 {
	moved := make([]float32, p.NumElements())
	p.visit(generation, pair, func(begin int, eps []float32) {
		for i, number := range eps {
			moved[begin+i] = p.Sigma * number
		}
	}, func(begin int, a, b []float32) {
		addProduct(moved[begin:], p.MatrixSigma(), a, b)
	})
	return moved
}

// Perturb returns the points W + dW and W - dW.
func (p *Perturbation) Perturb(w []float32, generation, pair uint32) (plus, minus []float32) {
	plus, minus = p.Displacement(generation, pair), make([]float32, len(w))
	for i, moved := range plus {
		plus[i], minus[i] = w[i]+moved, w[i]-moved
	}
	return plus, minus
}

// Estimate returns g, [NumElements]: the sum over the counted pairs, times factor; for matrices of
// low rank, times factor / sqrt(rank). No pair may stand there twice.
func (p *Perturbation) Estimate(generation uint32, counted []Counted, factor float64) []float32 {
	counted = append([]Counted(nil), counted...)
	sort.Slice(counted, func(i, j int) bool { return counted[i].Pair < counted[j].Pair })
	total := make([]float64, p.NumElements())
	s := make([]float32, len(total))
	for i, c := range counted {
		p.visit(generation, c.Pair, func(begin int, eps []float32) {
			for i, number := range eps {
				s[begin+i] += float32(c.Weight * number)
			}
		}, func(begin int, a, b []float32) {
			addProduct(s[begin:], c.Weight, a, b)
		})
		if i+1 == len(counted) || counted[i+1].Pair/64 != c.Pair/64 { // the end of a run
			for j := range s {
				total[j] += float64(s[j])
				s[j] = 0
			}
		}
	}
	begin := 0
	for _, shape := range p.Shapes {
		times := factor
		if p.isMatrix(shape) {
			times /= math.Sqrt(float64(p.Rank))
		}
		for end := begin + product(shape); begin < end; begin++ {
			s[begin] = float32(total[begin] * times)
		}
	}
	return s
}

// visit draws the noise of a pair in layout order. It hands out either one number per element from
// element begin on, or one row of A and the same row of B, for the matrix that begins there.
func (p *Perturbation) visit(generation, pair uint32, dense func(begin int, eps []float32),
	matrix func(begin int, a, b []float32)) {
	stream := NewStream(p.Seed, p.domain(), pair, generation, 0)
	begin := 0
	for _, shape := range p.Shapes {
		size := product(shape)
		if !p.isMatrix(shape) {
			eps := make([]float32, size)
			stream.Read(eps)
			dense(begin, eps)
		} else {
			rows, cols := shape[0], size/shape[0]
			a, b := make([]float32, p.Rank*rows), make([]float32, p.Rank*cols)
			stream.Read(a)
			stream.Read(b)
			for k := 0; k < p.Rank; k++ {
				matrix(begin, a[k*rows:(k+1)*rows], b[k*cols:(k+1)*cols])
			}
		}
		begin += size
	}
}

func (p *Perturbation) isMatrix(shape []int) bool { return p.Rank > 0 && len(shape) >= 2 }

func (p *Perturbation) domain() int {
	switch {
	case p.Rank > 0 && p.Rademacher:
		return LowRankRademacher
	case p.Rank > 0:
		return LowRankNormal
	case p.Rademacher:
		return DenseRademacher
	}
	return DenseNormal
}

// addProduct adds (scale * a) b^T to the matrix [len(a), len(b)] at the front of to.
func addProduct(to []float32, scale float32, a, b []float32) {
	for i, x := range a {
		scaled := float32(scale * x)
		row := to[i*len(b):][:len(b)]
		for j, y := range b {
			row[j] += float32(scaled * y)
		}
	}
}

func product(shape []int) int {
	size := 1
	for _, n := range shape {
		size *= n
	}
	return size
}
