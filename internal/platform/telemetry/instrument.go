package telemetry

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// counter only grows.
type counter struct{ n atomic.Uint64 }

func (c *counter) add(n uint64) { c.n.Add(n) }

func (*counter) kind() string { return "counter" }

func (c *counter) write(p *page, name, labels string) { p.sample(name, labels, float64(c.n.Load())) }

// histogram counts values below bounds, which rise.
type histogram struct {
	bounds []float64
	counts []atomic.Uint64 // of each bound, and last those beyond
	sum    atomic.Uint64   // the bits of a float64
}

func newHistogram(bounds ...float64) *histogram {
	return &histogram{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

func (h *histogram) observe(v float64) {
	i, _ := slices.BinarySearch(h.bounds, v)
	h.counts[i].Add(1)
	for {
		old := h.sum.Load()
		if h.sum.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+v)) {
			return
		}
	}
}

func (*histogram) kind() string { return "histogram" }

func (h *histogram) write(p *page, name, labels string) {
	more := labels
	if more != "" {
		more += ","
	}
	n := uint64(0)
	for i := range h.counts {
		n += h.counts[i].Load()
		bound := "+Inf"
		if i < len(h.bounds) {
			bound = number(h.bounds[i])
		}
		p.sample(name+"_bucket", more+`le="`+bound+`"`, float64(n))
	}
	p.sample(name+"_sum", labels, math.Float64frombits(h.sum.Load()))
	p.sample(name+"_count", labels, float64(n))
}

func (h *histogram) family(p *page, name, help string) {
	p.head(name, h.kind(), help)
	h.write(p, name, "")
}

// family holds the instruments of one name, one for each combination of labels that was seen.
type family[T any] struct {
	make func() *T
	seen sync.Map // labels to *T
}

func (f *family[T]) of(l labels) *T {
	if i, ok := f.seen.Load(l); ok {
		return i.(*T)
	}
	i, _ := f.seen.LoadOrStore(l, f.make())
	return i.(*T)
}

// write lists the family in the order of its labels, which every scrape keeps.
func (f *family[T]) write(p *page, name, help string) {
	type one interface {
		kind() string
		write(p *page, name, labels string)
	}
	all := map[string]one{}
	f.seen.Range(func(l, i any) bool {
		all[l.(labels).text()] = i.(one)
		return true
	})
	texts := make([]string, 0, len(all))
	for text := range all {
		texts = append(texts, text)
	}
	slices.Sort(texts)
	for i, text := range texts {
		if i == 0 {
			p.head(name, all[text].kind(), help)
		}
		all[text].write(p, name, text)
	}
}

// page is one scrape's answer.
type page struct{ text []byte }

func (p *page) head(name, kind, help string) {
	p.text = append(p.text, "# HELP "+name+" "+strings.ReplaceAll(help, "\n", " ")+"\n# TYPE "+name+" "+kind+"\n"...)
}

func (p *page) sample(name, labels string, value float64) {
	p.text = append(p.text, name...)
	if labels != "" {
		p.text = append(p.text, "{"+labels+"}"...)
	}
	p.text = append(p.text, " "+number(value)+"\n"...)
}

func (p *page) gauge(name, help string, value float64) {
	p.head(name, "gauge", help)
	p.sample(name, "", value)
}

func (p *page) counter(name, help string, value float64) {
	p.head(name, "counter", help)
	p.sample(name, "", value)
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
