package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
)

// row is one line of the table: the median and the spread of the pairs' ratios, beside what both sides measured.
type row struct {
	what   string
	engine string
	ratios []float64
	// target is what the median should reach, 0 without one; atMost says that smaller is better.
	target float64
	atMost bool
	// ours and bare are the medians of both sides in their unit; note says more.
	ours, bare, note string
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// quantile of sorted values, the nearest one.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (r row) ratio() string {
	if len(r.ratios) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", median(r.ratios))
}

func (r row) spread() string {
	if len(r.ratios) < 2 {
		return ""
	}
	return fmt.Sprintf("%.2f..%.2f", slices.Min(r.ratios), slices.Max(r.ratios))
}

func (r row) goal() string {
	switch {
	case r.target == 0:
		return ""
	case r.atMost:
		return fmt.Sprintf("<= %g", r.target)
	}
	return fmt.Sprintf(">= %g", r.target)
}

func (r row) met() string {
	m := math.Round(median(r.ratios)*100) / 100
	switch {
	case r.target == 0:
		return ""
	case r.atMost == (m <= r.target), m == r.target:
		return "yes"
	}
	return "no"
}

// table collects the rows.
type table struct {
	rows []row
	what string
}

func newTable(b *bench) *table {
	what := fmt.Sprintf("%d interleaved pairs, %s for each load, %d processors, %s", b.pairs, b.took, runtime.NumCPU(), runtime.Version())
	if b.quick {
		what += "; a quick run: for trying out only"
	}
	return &table{what: what}
}

const lineFormat = "%-58s %-9s %7s  %-13s %-8s %-4s %-22s %-22s %s\n"

func (t *table) head(w io.Writer) {
	_, _ = fmt.Fprintf(w, "%s; load when it began: %s\n", t.what, loadAverage())
	_, _ = fmt.Fprintf(w, lineFormat, "figure", "engine", "ratio", "min..max", "target", "met", "gantry", "baseline", "")
}

func (t *table) add(w io.Writer, r row) {
	t.rows = append(t.rows, r)
	_, _ = fmt.Fprintf(w, lineFormat, r.what, r.engine, r.ratio(), r.spread(), r.goal(), r.met(), r.ours, r.bare, r.note)
}

// markdown is the table as a page shows it.
func (t *table) markdown() string {
	var b strings.Builder
	b.WriteString("Measured with " + t.what + ".\n\n")
	b.WriteString("| figure | engine | ratio | min..max | target | met | gantry | baseline | note |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range t.rows {
		cells := []string{r.what, r.engine, r.ratio(), r.spread(), r.goal(), r.met(), r.ours, r.bare, r.note}
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	return b.String()
}

// loadAverage tells how busy the machine is with other things.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// replacePart replaces what stands between a part's markers.
func replacePart(path, part, text string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := "<!-- bench:"+part+" -->", "<!-- bench:"+part+" end -->"
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no part between %s and %s", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n\n"+strings.TrimSpace(text)+"\n\n"+end+after), 0o644)
}

// pair measures ours and the baseline in turn, and gives what each said.
func (b *bench) interleave(ours, bare func() (float64, error)) (a, z []float64, err error) {
	for range b.pairs {
		for _, side := range []struct {
			f  func() (float64, error)
			to *[]float64
		}{{ours, &a}, {bare, &z}} {
			v, err := side.f()
			if err != nil {
				return nil, nil, err
			}
			*side.to = append(*side.to, v)
		}
	}
	return a, z, nil
}

// ratios divides pair by pair.
func ratios(a, z []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / z[i]
	}
	return out
}
