package usage

import (
	"context"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

// Day is one billing day: its start, and what was used in it by each product.
type Day struct {
	Start    time.Time
	Products []Used
}

// Used is what was used of a product, in millionths of an ACU.
type Used struct {
	Product string
	Micros  int64
}

// Of is what one product used.
func (d Day) Of(product string) int64 {
	for _, u := range d.Products {
		if u.Product == product {
			return u.Micros
		}
	}
	return 0
}

// Total is what all products used.
func (d Day) Total() int64 {
	var n int64
	for _, u := range d.Products {
		n += u.Micros
	}
	return n
}

// DailyParams ask for the consumption of one thing. OrgID is empty on the enterprise's routes. Scope and ID are what it is of, none for
// the enterprise; a session's id is bare. Of a span the days count that begin in [After, Before); a zero time is no bound.
type DailyParams struct {
	OrgID         string
	Scope         Scope
	ID            string
	After, Before time.Time
}

// Daily gives the days on which something was used, oldest first (contract/behaviour.md §4). On the enterprise's routes it needs
// ManageBilling or ViewAccountConsumption, on an organization's ViewOrgConsumption or ManageBilling. What the organization has nothing to
// do with answers like what isn't there: 404.
func (s *Service) Daily(ctx context.Context, sub access.Subject, p DailyParams) ([]Day, error) {
	if err := mayRead(sub, p.OrgID); err != nil {
		return nil, err
	}
	if !p.After.IsZero() && !p.Before.IsZero() && !p.After.Before(p.Before) {
		return nil, fault.InvalidQuery("time_before", "must be later than time_after")
	}
	if err := s.known(ctx, p); err != nil {
		return nil, err
	}
	if p.Scope == "" {
		return readEnterprise(ctx, s.db.Reader(), p)
	}
	return readDaily(ctx, s.db.Reader(), p)
}

func mayRead(sub access.Subject, orgID string) error {
	if orgID == "" {
		return access.RequireAny(sub, "", access.ViewAccountConsumption, access.ManageBilling)
	}
	return access.RequireAny(sub, orgID, access.ViewOrgConsumption, access.ManageBilling)
}

// known refuses what isn't there, or has nothing to do with the organization. Who used something stays known when they are gone.
func (s *Service) known(ctx context.Context, p DailyParams) error {
	q := s.db.Reader()
	var ok bool
	var err error
	switch p.Scope {
	case "", enterprise:
		ok = true
	case Organization:
		ok, err = s.o.Orgs.Known(ctx, p.ID)
	case Session:
		ok, err = isSession(ctx, q, p.OrgID, p.ID)
	case User:
		if ok, err = hasUsed(ctx, q, p); !ok && err == nil {
			ok, err = s.isPerson(ctx, p.OrgID, p.ID)
		}
	case ServiceUser:
		if ok, err = hasUsed(ctx, q, p); !ok && err == nil {
			ok, err = isServiceUser(ctx, q, p.OrgID, p.ID)
		}
	}
	if err == nil && !ok {
		return fault.New(fault.NotFound, "%s not found", nouns[p.Scope])
	}
	return err
}

var nouns = map[Scope]string{Organization: "organization", Session: "session", User: "user", ServiceUser: "service user"}

// isPerson reports whether somebody is a person of the enterprise, or holds anything in the organization.
func (s *Service) isPerson(ctx context.Context, orgID, userID string) (bool, error) {
	sub, err := s.o.Person(ctx, userID)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil && (orgID == "" || sub.In(orgID) != 0), err
}

// Span is a billing cycle: [After, Before).
type Span struct{ After, Before time.Time }

// Cycles lists the billing cycles, newest first: the one that runs, and all before it back to the first in which anything was used. It
// needs ManageBilling or ViewAccountConsumption.
func (s *Service) Cycles(ctx context.Context, sub access.Subject, r page.Request) (page.Page[Span], error) {
	if err := mayRead(sub, ""); err != nil {
		return page.Page[Span]{}, err
	}
	now := s.db.Clock().Now()
	first, err := firstDay(ctx, s.db.Reader(), now)
	if err != nil {
		return page.Page[Span]{}, err
	}
	at := now
	if r.After != nil {
		start, ok := r.After[0].(int64)
		if !ok {
			return page.Page[Span]{}, fault.New(fault.Internal, "a cursor of cycles without a time")
		}
		at = time.UnixMilli(start).Add(-time.Millisecond)
	}
	oldest, _ := s.Cycle(first)
	var rows []Span
	for len(rows) < r.Limit() {
		from, to := s.Cycle(at)
		if from.Before(oldest) {
			break
		}
		rows = append(rows, Span{from, to})
		at = from.Add(-time.Millisecond)
	}
	return page.Cut(rows, r, func(c Span) page.Position { return page.Position{c.After.UnixMilli()} }), nil
}
