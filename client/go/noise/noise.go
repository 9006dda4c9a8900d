// SPDX-License-Identifier: Apache-2.0

// Package noise is proto/NOISE.md in Go: perturbations of parameters, estimates from their losses,
// and the weights of losses, with the same bits as in every other language.
//
// On some machines the compiler fuses x*y + z into one rounding. It may not if the product is
// converted explicitly, so every product that is added to something is written as float32(x * y):
// a conversion that looks redundant is what keeps the bits.
//
// Functions that are handed slices of the wrong length panic: that is a mistake in the program.
package noise

import "math"

// Domains: what a stream is for.
const (
	DenseNormal = iota
	InitialValues
	LowRankNormal
	DenseRademacher
	LowRankRademacher
	dataSeedDomain
)

// Philox is Philox4x32-10.
func Philox(counter [4]uint32, key [2]uint32) [4]uint32 {
	for round := 0; round < 10; round++ {
		p0 := uint64(0xD2511F53) * uint64(counter[0])
		p1 := uint64(0xCD9E8D57) * uint64(counter[2])
		counter = [4]uint32{
			uint32(p1>>32) ^ counter[1] ^ key[0], uint32(p1),
			uint32(p0>>32) ^ counter[3] ^ key[1], uint32(p0)}
		key[0] += 0x9E3779B9
		key[1] += 0xBB67AE85
	}
	return counter
}

// logOfShare returns log(k / 2^31) for a whole number k from 1 to 2^31.
func logOfShare(k float32) float32 {
	bits := math.Float32bits(k) + (0x3F800000 - 0x3F3504F3)
	f := math.Float32frombits(bits&0x7FFFFF+0x3F3504F3) - 1
	e := float32(int32(bits>>23) - 158)
	square := float32(f * f)
	p := float32(0x1.204376p-4)
	for _, coefficient := range [...]float32{
		-0x1.d7a37p-4, 0x1.de4a34p-4, -0x1.fcba9ep-4, 0x1.23d37ep-3,
		-0x1.555cap-3, 0x1.999d58p-3, -0x1.fffff8p-3, 0x1.555554p-2} {
		p = float32(p*f) + coefficient
	}
	rest := float32(float32(p*f) * square)
	rest -= float32(e * 0x1.bd0106p-13)
	rest -= float32(0.5 * square)
	return (f + rest) + float32(e*0.693359375)
}

func boxMuller(a, b uint32) (float32, float32) {
	radius := float32(math.Sqrt(float64(-2 * logOfShare(float32(a>>1|1)))))
	y := float32(float32(int32(b<<2|2)) * 0x1.921fb6p-32)
	square := float32(y * y)
	s := float32(-0x1.9943f2p-13*square) + 0x1.11073cp-7
	s = float32(s*square) - 0x1.555546p-3
	s = float32(float32(s*square)*y) + y
	c := float32(0x1.99eb9cp-16*square) - 0x1.6c0c34p-10
	c = float32(c*square) + 0x1.55554ap-5
	c = float32(c*square) - 0.5
	c = float32(c*square) + 1
	switch (b + 1<<29) >> 30 { // the nearest multiple of a quarter turn
	case 1:
		c, s = -s, c
	case 2:
		c, s = -c, -s
	case 3:
		c, s = s, -c
	}
	return float32(radius * c), float32(radius * s)
}

// Normals returns the four standard normals of four words.
func Normals(w [4]uint32) (n [4]float32) {
	n[0], n[1] = boxMuller(w[0], w[1])
	n[2], n[3] = boxMuller(w[2], w[3])
	return n
}

// Stream hands out the numbers of one stream in turn.
type Stream struct {
	key                      [2]uint32
	domain, pair, generation uint32
	block                    uint64 // the next one
	numbers                  []float32
	next                     int
	buffer                   [128]float32
}

// NewStream begins with number begin: below 2^50, or 2^55 if the numbers are signs.
func NewStream(seed uint64, domain int, pair, generation uint32, begin uint64) *Stream {
	s := &Stream{key: [2]uint32{uint32(seed), uint32(seed >> 32)}, domain: uint32(domain),
		pair: pair, generation: generation}
	perBlock := uint64(4)
	if domain == DenseRademacher || domain == LowRankRademacher {
		perBlock = 128
	}
	s.numbers = s.buffer[:perBlock]
	s.block = begin / perBlock
	s.fill()
	s.next = int(begin % perBlock)
	return s
}

func (s *Stream) words() [4]uint32 {
	return Philox([4]uint32{uint32(s.block), s.domain<<16 | uint32(s.block>>32), s.pair,
		s.generation}, s.key)
}

func (s *Stream) fill() {
	words := s.words()
	if len(s.numbers) == 4 {
		normals := Normals(words)
		copy(s.numbers, normals[:])
	} else {
		for i := range s.numbers {
			s.numbers[i] = 1 - 2*float32(words[i/32]>>(i%32)&1)
		}
	}
	s.block++
	s.next = 0
}

// Read fills to with the numbers that come next.
func (s *Stream) Read(to []float32) {
	for len(to) > 0 {
		if s.next == len(s.numbers) {
			s.fill()
		}
		count := copy(to, s.numbers[s.next:])
		to = to[count:]
		s.next += count
	}
}

// DataSeed is what draws the data of a generation, the same for all of its pairs: below 2^53.
func DataSeed(seed uint64, generation uint32) uint64 {
	s := Stream{key: [2]uint32{uint32(seed), uint32(seed >> 32)}, domain: dataSeedDomain,
		generation: generation}
	words := s.words()
	return (uint64(words[1])<<32 | uint64(words[0])) >> 11
}
