// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"fmt"
	"math"
	"sort"
)

// Difference says which losses a pair has.
type Difference int

// A pair has L+ and L-, or L+ alone, or the derivative along eps.
const (
	Central Difference = iota
	OneSided
	Directional
)

// Scale says in which unit the estimate is.
type Scale int

// The unit of the displacement, or that of a gradient.
const (
	Tutorial Scale = iota
	Gradient
)

// Shaping says what is made of the losses before they become weights.
type Shaping int

// Losses as they are, their ranks, or in units of their deviation.
const (
	NoShaping Shaping = iota
	CenteredRanks
	ZScore
)

// Baseline says what is taken from one-sided losses that are not shaped.
type Baseline int

// Nothing, the mean of the losses, or the loss of the unmoved point.
const (
	NoBaseline Baseline = iota
	Mean
	Evaluated
)

// Weighing turns the losses of a generation into weights.
type Weighing struct {
	Difference Difference
	Scale      Scale
	Shaping    Shaping
	Baseline   Baseline
	Maximize   bool
	Sigma      float32
	Evaluated  float64 // the loss of the unmoved point, for the baseline of that name
}

// Weigh takes the losses of the counted pairs in the order of the pairs, for Central L+ and L- of
// each pair in turn, and returns a weight per pair and the factor of Estimate.
func (c Weighing) Weigh(losses []float64) (weights []float32, factor float64, err error) {
	perPair := 1
	if c.Difference == Central {
		perPair = 2
	}
	if len(losses) == 0 || len(losses)%perPair != 0 {
		return nil, 0, fmt.Errorf("noise: %d losses, %d per pair", len(losses), perPair)
	}
	if c.Difference == Directional && c.Shaping != NoShaping {
		return nil, 0, fmt.Errorf("noise: derivatives are not shaped")
	}
	losses = negatedIf(c.Maximize, losses)
	factor = c.scaled(float64(len(losses) / perPair))

	subtracted := 0.0 // from one-sided losses
	count := float64(len(losses))
	switch c.Shaping {
	case CenteredRanks:
		losses = doubledRanks(losses)
		subtracted = count - 1
		switch {
		case len(losses) == 1:
			factor = 0
		case c.Difference == Central:
			factor /= 4 * (count - 1)
		default:
			factor /= 2 * (count - 1)
		}
	case ZScore:
		subtracted = sum(losses, 0, false) / count
		variance := sum(losses, subtracted, true) / count
		if variance == 0 || allEqual(losses) { // the rounded mean may give them a variance
			factor = 0
		} else {
			factor /= math.Sqrt(variance)
		}
	default:
		if c.Baseline == Mean {
			subtracted = sum(losses, 0, false) / count
		} else if c.Baseline == Evaluated {
			subtracted = negatedIf(c.Maximize, []float64{c.Evaluated})[0]
		}
	}

	for i := 0; i < len(losses); i += perPair {
		switch {
		case c.Difference == Directional:
			weights = append(weights, float32(losses[i]))
		case c.Difference == OneSided:
			weights = append(weights, float32(losses[i]-subtracted))
		case c.Shaping == CenteredRanks:
			weights = append(weights, float32(losses[i]-losses[i+1]))
		default:
			weights = append(weights, float32((losses[i]-losses[i+1])/2))
		}
	}
	return weights, factor, nil
}

// BetterPair is random search: losses of the counted pairs, and that of the unmoved point. It returns
// the first of the best pairs if that is better: g is then minus its displacement. Otherwise it
// returns -1, and g is 0.
func BetterPair(losses []float64, evaluated float64, maximize bool) int {
	best := -1
	losses = negatedIf(maximize, append([]float64{evaluated}, losses...))
	bound := losses[0]
	for i, loss := range losses[1:] {
		if loss < bound {
			best, bound = i, loss
		}
	}
	return best
}

func (c Weighing) scaled(n float64) float64 {
	sigma := float64(c.Sigma)
	var factor float64
	switch {
	case c.Difference == Directional && c.Scale == Tutorial:
		factor = sigma * sigma / n
	case c.Difference == Directional:
		factor = 1 / n
	case c.Scale == Tutorial:
		factor = sigma / n
	default:
		factor = 1 / (n * sigma)
	}
	return factor
}

// doubledRanks counts smaller losses twice and equal ones once, without the loss itself.
func doubledRanks(losses []float64) []float64 {
	ordered := append([]float64(nil), losses...)
	sort.Float64s(ordered)
	ranks := make([]float64, len(losses))
	for i, loss := range losses {
		smaller := sort.SearchFloat64s(ordered, loss)
		notLarger := sort.Search(len(ordered), func(j int) bool { return ordered[j] > loss })
		ranks[i] = float64(smaller + notLarger - 1)
	}
	return ranks
}

func allEqual(losses []float64) bool {
	for _, loss := range losses {
		if loss != losses[0] {
			return false
		}
	}
	return true
}

// sum adds loss - mean, or its square, in order.
func sum(losses []float64, mean float64, squared bool) float64 {
	total := 0.0
	for _, loss := range losses {
		term := loss - mean
		if squared {
			term = float64(term * term)
		}
		total += term
	}
	return total
}

func negatedIf(negate bool, losses []float64) []float64 {
	if !negate {
		return losses
	}
	negated := make([]float64, len(losses))
	for i, loss := range losses {
		negated[i] = -loss
	}
	return negated
}
