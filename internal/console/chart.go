package console

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Charts are drawn here, as SVG that stands in the page: no library, no script. Across, everything is in percent of the width that the
// page gives, up and down in pixels: a chart keeps the size of its letters however wide it is, and its lines stay sharp. Colours are
// classes, because the pages' policy allows no style in them and the style sheet knows light from dark.

const (
	plotHeight = 150. // pixels from the highest line down to the zero line
	plotTop    = 12.  // above the highest line, half a line of text
	plotFoot   = 24.  // below the zero line, for the days
	leastBar   = 2.   // how high what isn't nothing is at the least
	zeroBar    = 1.   // how high nothing is, so that a day without is a day all the same
	ticksMost  = 4    // lines above the zero line
)

// series is one sort of number of each day. Several are stacked, the first at the bottom.
type series struct {
	name   string // in a sentence: “sessions”
	tone   string // the class of its colour
	values []float64
}

// head is the name at the head of a column.
func (s series) head() string { return strings.ToUpper(s.name[:1]) + s.name[1:] }

// chart is bars by day.
type chart struct {
	id    string // what the page's other elements aren't called
	title string
	unit  string // what is counted, after a number
	text  func(float64) string
	whole bool // numbers are counts
	days  []time.Time
	of    []series

	ticks  []tick
	bars   []bar
	labels []label
}

// tick is a line across, with what it stands for.
type tick struct{ y, text string }

// bar is a day: the column that answers a pointer, and on it a part for each sort of number.
type bar struct {
	tip   string
	parts []part
}

type part struct{ x, width, y, height, tone string }

// label is a day's name below its bar.
type label struct{ x, text string }

// draw works out where everything stands.
func (c chart) draw() chart {
	c.ticks, c.bars, c.labels = nil, nil, nil
	step, top := scale(c.highest(), c.whole)
	for i := range int(math.Round(top/step)) + 1 {
		at := float64(i) * step
		c.ticks = append(c.ticks, tick{pixels(plotTop + plotHeight*(1-at/top)), short(at, step)})
	}
	slot := 100 / float64(max(1, len(c.days)))
	share := .7
	if len(c.days) <= 7 {
		share = .46
	}
	for i, day := range c.days {
		left := float64(i) * slot
		b := bar{c.tip(i, day), []part{{percent(left), percent(slot), "0", c.foot(), "hit"}}}
		x, width := percent(left+slot*(1-share)/2), percent(slot*share)
		floor := plotTop + plotHeight
		for _, s := range c.of {
			if s.values[i] <= 0 {
				continue
			}
			height := max(leastBar, plotHeight*s.values[i]/top)
			floor -= height
			b.parts = append(b.parts, part{x, width, pixels(max(0, floor)), pixels(height), "part " + s.tone})
		}
		if len(b.parts) == 1 {
			b.parts = append(b.parts, part{x, width, pixels(plotTop + plotHeight - zeroBar), pixels(zeroBar), "part"})
		}
		c.bars = append(c.bars, b)
	}
	every, form := labelEvery(len(c.days)), "2 Jan"
	if every == 1 {
		form = "Mon"
	}
	for i := (every - 1) / 2; i < len(c.days); i += every {
		c.labels = append(c.labels, label{percent((float64(i) + .5) * slot), c.days[i].Format(form)})
	}
	return c
}

// labelEvery is after how many days one is named: on a phone there is room for the weekdays of a week, or for six dates.
func labelEvery(days int) int {
	if days <= 7 {
		return 1
	}
	return (days + 5) / 6
}

// highest is the most that a day has in all.
func (c chart) highest() float64 {
	var most float64
	for i := range c.days {
		most = max(most, c.sum(i))
	}
	return most
}

func (c chart) sum(day int) float64 {
	var n float64
	for _, s := range c.of {
		n += s.values[day]
	}
	return n
}

// empty reports whether there is nothing on any day.
func (c chart) empty() bool { return c.highest() <= 0 }

func (c chart) tip(i int, day time.Time) string {
	text := day.Format("Mon 2 Jan") + ": "
	if len(c.of) == 1 {
		return text + c.text(c.of[0].values[i]) + " " + c.unit
	}
	parts := make([]string, len(c.of))
	for k, s := range c.of {
		parts[k] = c.text(s.values[i]) + " " + s.name
	}
	return text + strings.Join(parts, ", ")
}

// desc says in words what the picture shows.
func (c chart) desc() string {
	if len(c.days) == 0 {
		return "There are no days."
	}
	most := 0
	for i := range c.days {
		if c.sum(i) > c.sum(most) {
			most = i
		}
	}
	first, last := c.days[0].Format("2 Jan 2006"), c.days[len(c.days)-1].Format("2 Jan 2006")
	return "Bars by day from " + first + " to " + last + ". The most is " + c.text(c.sum(most)) + " " + c.unit + " on " + c.days[most].Format("2 Jan") +
		". The table below has all numbers."
}

// height of the whole drawing.
func (c chart) height() string { return pixels(plotTop + plotHeight + plotFoot) }

func (c chart) foot() string { return pixels(plotTop + plotHeight + plotFoot - 6) }

// scale gives the distance of the lines of an axis, a round number, and the highest line: the first that nothing is above.
func scale(most float64, whole bool) (step, top float64) {
	if !(most > 0) || math.IsInf(most, 0) {
		return 1, 1
	}
	power := math.Pow(10, math.Floor(math.Log10(most/ticksMost)))
	for _, round := range []float64{1, 2, 5, 10} {
		if step = round * power; step*ticksMost >= most*(1-1e-9) {
			break
		}
	}
	if whole {
		step = max(1, math.Round(step))
	}
	return step, step * max(1, math.Ceil(most/step-1e-9))
}

// short writes a number of an axis: thousands with a k, millions with an M, and no more places than the axis' steps have.
func short(n, step float64) string {
	unit := ""
	for _, u := range []struct {
		size float64
		text string
	}{{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "k"}} {
		if n >= u.size {
			n, step, unit = n/u.size, step/u.size, u.text
			break
		}
	}
	places := 0
	if step < 1 {
		places = int(math.Ceil(-math.Log10(step) - 1e-9))
	}
	text := strconv.FormatFloat(n, 'f', places, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text + unit
}

func percent(n float64) string { return decimal(n, 3) + "%" }

func pixels(n float64) string { return decimal(n, 1) }

func decimal(n float64, places int) string {
	text := strconv.FormatFloat(n, 'f', places, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// rank is a line of a list by size, with a bar.
type rank struct {
	name, link string
	id         string // for names that two may have
	hint       string // what else there is to say of it
	text       string // the number
	value      float64
	rest       bool // it is what all others come to
}

// share is how long a rank's bar is, of the longest in a list; what isn't nothing shows.
func (r rank) share(list []rank) string {
	var most float64
	for _, o := range list {
		most = max(most, o.value)
	}
	if r.value <= 0 {
		return "0"
	}
	return percent(max(.5, 100*r.value/most))
}
