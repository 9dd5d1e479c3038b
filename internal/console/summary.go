package console

import (
	"strconv"
	"time"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/platform/page"
	"gantry/internal/usage"
)

// summary is what stands above an organization's sessions: what its billing cycle used, how long the queue is, and who works. Each part
// is there for who may read it. A page of usage has the first part alone, the enterprise's too.
type summary struct {
	usage   bool
	used    float64 // ACUs
	limit   *int64  // of the cycle, nil for none or for who may not read it
	until   time.Time
	queue   bool
	waiting int64
	fleet   bool
	workers int
	more    bool // and there are more workers
	now     time.Time
}

// workersCounted is how many workers a page counts.
const workersCounted = 100

func (v *visit) summary() (summary, error) {
	s := summary{now: v.Clock.Now()}
	for _, fill := range []func(*summary) error{v.cycle, v.queue, v.workers} {
		if err := fill(&s); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (v *visit) cycle(s *summary) error {
	if !v.seesConsumption() {
		return nil
	}
	from, to := v.Usage.Cycle(s.now)
	days, err := v.Usage.Daily(v.ctx(), v.who, v.consumption(from, to))
	if err != nil {
		return err
	}
	for _, d := range days {
		s.used += float64(d.Total()) / usage.Micros
	}
	s.usage, s.until = true, to
	s.limit, err = v.cycleLimit()
	return err
}

// cycleLimit is the limit of the organization that the page is on, or of the enterprise.
func (v *visit) cycleLimit() (*int64, error) {
	if v.org == "" {
		p, err := v.Usage.Limits(v.ctx(), v.who, page.Request{First: 1})
		if err != nil || len(p.Items) == 0 || p.Items[0].Level != usage.OfEnterprise {
			return nil, err
		}
		return &p.Items[0].Cycle, nil
	}
	if !v.can(access.ManageOrganizations) {
		return nil, nil
	}
	o, err := v.Orgs.Get(v.ctx(), v.who, v.org)
	return o.Limits.Cycle, err
}

func (v *visit) queue(s *summary) error {
	if !v.can(access.ViewAccountMetrics) {
		return nil
	}
	q, err := v.Fleet.Queue(v.ctx(), v.who)
	s.queue, s.waiting = true, q.Size
	return err
}

func (v *visit) workers(s *summary) error {
	if !v.can(access.ViewEnterpriseInfraDetails) {
		return nil
	}
	p, err := v.Fleet.Hypervisors(v.ctx(), v.who, fleet.Available, page.Request{First: workersCounted})
	s.fleet, s.workers, s.more = true, len(p.Items), p.More
	return err
}

func (s summary) any() bool { return s.usage || s.queue || s.fleet }

// usedText says what the cycle used, and of how much.
func (s summary) usedText() string {
	if s.limit == nil {
		return grouped(acus(s.used)) + " ACU"
	}
	return grouped(acus(s.used)) + " of " + grouped(strconv.FormatInt(*s.limit, 10)) + " ACU"
}

// usedTone warns when four fifths of the limit are used.
func (s summary) usedTone() tone {
	switch {
	case s.limit == nil:
		return plain
	case s.used >= float64(*s.limit):
		return bad
	case s.used >= 0.8*float64(*s.limit):
		return warn
	}
	return plain
}

func (s summary) workersText() string {
	text := count(s.workers, "worker", "workers")
	if s.more {
		return "more than " + text
	}
	return text
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
