package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
)

// listLine is one case on one engine.
type listLine struct {
	name, engine      string
	overBare, overOwn []float64
	millis            float64
	statements, rows  int
}

// print says the line on standard output.
func (l listLine) print() {
	_, _ = fmt.Fprintf(os.Stdout, "%-92s %-9s %6.2f %6.2f %9.3f  %d, %d %s\n", l.name, l.engine, median(l.overBare), median(l.overOwn), l.millis,
		l.statements, l.rows, strings.Join(l.missed(), ", "))
}

// missed names the targets that a line misses.
func (l listLine) missed() []string {
	var out []string
	if math.Round(median(l.overBare)*100) > maxOverBare*100 {
		out = append(out, "misses 1.25x")
	}
	if math.Round(median(l.overOwn)*100) > maxOverSmall*100 {
		out = append(out, "misses 3x")
	}
	return out
}

// listTable is the table as the page shows it: a line for each case, the engines beside one another.
func (b *bench) listTable(lines []listLine) string {
	var t strings.Builder
	fmt.Fprintf(&t, "Measured at scale %g with %d rounds, in each %s of every side, taken in turn. Where a target was missed, what counts are "+
		"%d times as many, %d times as long, on servers started anew for each %d; load when it ended: %s. A cell is the median of the rounds' "+
		"ratios and the smallest and largest of them. A page is held against one of as many items at a hundredth of the size.\n\n",
		b.scale, b.pairs, b.took/listPart, anew, again, b.pairs, loadAverage())
	t.WriteString("| asked |")
	for _, e := range engines {
		fmt.Fprintf(&t, " %s / bare | %s / a hundredth | %s |", e, e, e)
	}
	t.WriteString("\n|---|" + strings.Repeat("---|---|---|", len(engines)) + "\n")
	missed, names := 0, []string{}
	for _, l := range lines {
		if !slices.Contains(names, l.name) {
			names = append(names, l.name)
		}
		missed += len(l.missed())
	}
	slices.Sort(names)
	for _, name := range names {
		t.WriteString("| " + strings.ReplaceAll(name, "|", "\\|") + " |")
		for _, e := range engines {
			i := slices.IndexFunc(lines, func(l listLine) bool { return l.name == name && l.engine == e })
			if i < 0 {
				t.WriteString(" | | |")
				continue
			}
			l := lines[i]
			fmt.Fprintf(&t, " %s | %s | %.2f ms |", spreadOf(l.overBare, maxOverBare), spreadOf(l.overOwn, maxOverSmall), l.millis)
		}
		t.WriteByte('\n')
	}
	if missed == 0 {
		fmt.Fprintf(&t, "\nAll of it meets the targets of %g and %d.\n", maxOverBare, maxOverSmall)
	} else {
		fmt.Fprintf(&t, "\n%d cells miss their target of %g or %d; they are **bold**.\n", missed, maxOverBare, maxOverSmall)
	}
	return t.String()
}

func spreadOf(v []float64, target float64) string {
	text := fmt.Sprintf("%.2f", median(v))
	if math.Round(median(v)*100) > target*100 {
		text = "**" + text + "**"
	}
	return text + fmt.Sprintf(" (%.2f..%.2f)", slices.Min(v), slices.Max(v))
}
