// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// float32s and the like are written as hexadecimal digits, 8 or 16 per number.
type (
	words    []uint32
	float32s []float32
	float64s []float64
	decimal  uint64
)

func unhex(text []byte, size int, each func(bits uint64)) error {
	var digits string
	if err := json.Unmarshal(text, &digits); err != nil {
		return err
	}
	bytes, err := hex.DecodeString(digits)
	for ; len(bytes) >= size; bytes = bytes[size:] {
		bits := uint64(0)
		for _, b := range bytes[:size] {
			bits = bits<<8 | uint64(b)
		}
		each(bits)
	}
	return err
}

func (w *words) UnmarshalJSON(text []byte) error {
	return unhex(text, 4, func(bits uint64) { *w = append(*w, uint32(bits)) })
}

func (f *float32s) UnmarshalJSON(text []byte) error {
	return unhex(text, 4, func(bits uint64) { *f = append(*f, math.Float32frombits(uint32(bits))) })
}

func (f *float64s) UnmarshalJSON(text []byte) error {
	return unhex(text, 8, func(bits uint64) { *f = append(*f, math.Float64frombits(bits)) })
}

func (d *decimal) UnmarshalJSON(text []byte) error {
	var digits string
	if err := json.Unmarshal(text, &digits); err != nil {
		return err
	}
	value, err := strconv.ParseUint(digits, 10, 64)
	*d = decimal(value)
	return err
}

type perturbationRow struct {
	Seed       decimal
	Sigma      float32s
	Rank       int
	Rademacher bool
	Generation uint32
}

func (r perturbationRow) of(layout [][]int) *Perturbation {
	return &Perturbation{layout, uint64(r.Seed), r.Sigma[0], r.Rank, r.Rademacher}
}

type vectors struct {
	Layout     [][]int
	Parameters float32s
	Philox     []struct{ Counter, Key, Words words }
	Normals    [][2]words
	Streams    []struct {
		Seed, Begin      decimal
		Domain           int
		Pair, Generation uint32
		Numbers          float32s
		Signs            string
	}
	DataSeeds []struct {
		Seed       decimal
		Generation uint32
		DataSeed   decimal `json:"data_seed"`
	} `json:"data_seeds"`
	Displacements []struct {
		perturbationRow
		Pair                      uint32
		Displacement, Plus, Minus float32s
	}
	Estimates []struct {
		perturbationRow
		Pairs             []uint32
		Weights, Gradient float32s
		Factor            float64s
	}
	Weights struct {
		Losses []float64s
		Rows   []struct {
			Losses                               int
			Difference, Scale, Shaping, Baseline string
			Maximize                             bool
			Sigma, Weights                       float32s
			Evaluated, Factor                    float64s
		}
	}
	IfBetter []struct {
		Losses, Evaluated float64s
		Maximize          bool
		Position          int
	} `json:"if_better"`
}

func read(t *testing.T) *vectors {
	path := os.Getenv("TALWEG_NOISE_VECTORS")
	if path == "" {
		path = filepath.Join("..", "..", "..", "proto", "vectors", "noise.json")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v := &vectors{}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
	return v
}

func wantBits(t *testing.T, what string, row int, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s %d has %d numbers, expected %d", what, row, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s %d, number %d: got %x, expected %x", what, row, i, got[i], want[i])
		}
	}
}

func TestPhiloxGivesTheKnownAnswers(t *testing.T) {
	for _, row := range read(t).Philox {
		got := Philox([4]uint32{row.Counter[0], row.Counter[1], row.Counter[2], row.Counter[3]},
			[2]uint32{row.Key[0], row.Key[1]})
		for j, word := range row.Words {
			if got[j] != word {
				t.Errorf("counter %x: got %x, expected %x", row.Counter, got, row.Words)
			}
		}
	}
}

func TestNormalsHaveThePublishedBits(t *testing.T) {
	rows := read(t).Normals
	if 4*len(rows) < 4096 {
		t.Fatalf("only %d rows", len(rows))
	}
	for _, row := range rows {
		w := row[0]
		got := Normals([4]uint32{w[0], w[1], w[2], w[3]})
		for j, bits := range row[1] {
			if math.Float32bits(got[j]) != bits {
				t.Fatalf("words %x, number %d: got %x, expected %x", w, j,
					math.Float32bits(got[j]), bits)
			}
		}
	}
}

func TestStreamsBeginAnywhere(t *testing.T) {
	for i, row := range read(t).Streams {
		want := []float32(row.Numbers)
		for _, sign := range row.Signs {
			want = append(want, map[rune]float32{'+': 1, '-': -1}[sign])
		}
		got := make([]float32, len(want))
		NewStream(uint64(row.Seed), row.Domain, row.Pair, row.Generation, uint64(row.Begin)).Read(got)
		wantBits(t, "stream", i, got, want)
	}
}

func TestDataSeedsAreThePublishedOnes(t *testing.T) {
	for _, row := range read(t).DataSeeds {
		if got := DataSeed(uint64(row.Seed), row.Generation); got != uint64(row.DataSeed) {
			t.Errorf("seed %d generation %d: got %d, expected %d", row.Seed, row.Generation, got,
				row.DataSeed)
		}
	}
}

func TestDisplacementsAndPointsHaveThePublishedBits(t *testing.T) {
	v := read(t)
	points := 0
	for i, row := range v.Displacements {
		p := row.of(v.Layout)
		wantBits(t, "displacement", i, p.Displacement(row.Generation, row.Pair), row.Displacement)
		if row.Plus != nil {
			plus, minus := p.Perturb(v.Parameters, row.Generation, row.Pair)
			wantBits(t, "plus", i, plus, row.Plus)
			wantBits(t, "minus", i, minus, row.Minus)
			points++
		}
	}
	if points == 0 {
		t.Error("no row has points")
	}
}

func TestEstimatesHaveThePublishedBits(t *testing.T) {
	v := read(t)
	for i, row := range v.Estimates {
		counted := make([]Counted, len(row.Pairs))
		for j, pair := range row.Pairs { // last first: the order of arrival does not matter
			counted[len(counted)-1-j] = Counted{pair, row.Weights[j]}
		}
		got := row.of(v.Layout).Estimate(row.Generation, counted, row.Factor[0])
		wantBits(t, "estimate", i, got, row.Gradient)
	}
}

func TestWeightsAndFactorsHaveThePublishedBits(t *testing.T) {
	v := read(t)
	difference := map[string]Difference{
		"CENTRAL": Central, "ONE_SIDED": OneSided, "DIRECTIONAL": Directional}
	scale := map[string]Scale{"TUTORIAL": Tutorial, "GRADIENT": Gradient}
	shaping := map[string]Shaping{
		"NONE": NoShaping, "CENTERED_RANKS": CenteredRanks, "Z_SCORE": ZScore}
	baseline := map[string]Baseline{"NONE": NoBaseline, "MEAN": Mean, "EVALUATED": Evaluated}
	for i, row := range v.Weights.Rows {
		var losses []float64
		for j, loss := range v.Weights.Losses[row.Losses] {
			if row.Difference == "CENTRAL" || j%2 == 0 {
				losses = append(losses, loss)
			}
		}
		weights, factor, err := Weighing{difference[row.Difference], scale[row.Scale],
			shaping[row.Shaping], baseline[row.Baseline], row.Maximize, row.Sigma[0],
			row.Evaluated[0]}.Weigh(losses)
		if err != nil {
			t.Fatal(err)
		}
		wantBits(t, "weights", i, weights, row.Weights)
		if math.Float64bits(factor) != math.Float64bits(row.Factor[0]) {
			t.Errorf("weights %d, %s %s %s: factor %x, expected %x", i, row.Difference, row.Scale,
				row.Shaping, factor, row.Factor[0])
		}
	}
}

func TestBetterPairIsTheFirstOfTheBest(t *testing.T) {
	for i, row := range read(t).IfBetter {
		if got := BetterPair(row.Losses, row.Evaluated[0], row.Maximize); got != row.Position {
			t.Errorf("row %d: got %d, expected %d", i, got, row.Position)
		}
	}
}

func TestWeighRefusesWhatDoesNotFit(t *testing.T) {
	for _, losses := range [][]float64{{}, {1, 2, 3}} {
		if _, _, err := (Weighing{}).Weigh(losses); err == nil {
			t.Errorf("took %v", losses)
		}
	}
	if _, _, err := (Weighing{Difference: Directional, Shaping: ZScore}).Weigh([]float64{1}); err == nil {
		t.Error("shaped a derivative")
	}
}

func BenchmarkNormals(b *testing.B) {
	stream := NewStream(1, DenseNormal, 0, 0, 0)
	numbers := make([]float32, 1<<16)
	b.SetBytes(4 << 16)
	for i := 0; i < b.N; i++ {
		stream.Read(numbers)
	}
}
