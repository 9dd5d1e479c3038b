package audit

import (
	"context"
	"encoding/json"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

// MaxSpan is the longest time between TimeAfter and TimeBefore (contract/behaviour.md §5.2).
const MaxSpan = 100 * 24 * time.Hour

// Order is the direction of a list by time.
type Order string

// The orders. The contract's default is Desc.
const (
	Asc  Order = "asc"
	Desc Order = "desc"
)

// Log is a stored entry. Empty texts were null: an entry of enterprise scope has no OrgID.
type Log struct {
	ID              string
	CreatedAt       time.Time
	Action          Action
	OrgID           string
	UserID          string
	UserEmail       string
	ServiceUserID   string
	ServiceUserName string
	RequestID       string
	Data            json.RawMessage
}

// ListParams choose entries. Zero values choose all. Entries lie in [TimeAfter, TimeBefore).
type ListParams struct {
	OrgID      string
	Action     Action
	Order      Order
	TimeAfter  time.Time
	TimeBefore time.Time
	// AnySpan leaves out v3's rules for the two times, which the older versions don't have.
	AnySpan bool
	Page    page.Request
}

// validate holds the rules of contract/behaviour.md §5.2 and §5.4.
func (p *ListParams) validate() error {
	if p.Order == "" {
		p.Order = Desc
	}
	if p.Order != Asc && p.Order != Desc {
		return fault.InvalidQuery("order", "must be asc or desc")
	}
	if p.Action != "" && !Known(p.Action) {
		return fault.InvalidQuery("action", "%q is no action's name", string(p.Action))
	}
	if p.TimeBefore.IsZero() || p.AnySpan {
		return nil
	}
	if p.TimeAfter.IsZero() {
		return fault.InvalidQuery("time_before", "needs time_after as well")
	}
	if p.TimeBefore.Before(p.TimeAfter) {
		return fault.InvalidQuery("time_before", "must not be before time_after")
	}
	if p.TimeBefore.Sub(p.TimeAfter) > MaxSpan {
		return fault.InvalidQuery("time_before", "must be at most 100 days after time_after")
	}
	return nil
}

// Service reads what RecordTx wrote.
type Service struct{ db *db.DB }

// New makes the service.
func New(d *db.DB) *Service { return &Service{db: d} }

// List gives one page of entries. Page.End is there whenever the page has entries, also on the last one, so that a client may
// come back for later entries (contract/behaviour.md §19.11).
func (s *Service) List(ctx context.Context, sub access.Subject, p ListParams) (page.Page[Log], error) {
	if err := access.Require(sub, access.ManageEnterpriseSettings, ""); err != nil {
		return page.Page[Log]{}, err
	}
	if err := p.validate(); err != nil {
		return page.Page[Log]{}, err
	}
	rows, err := list(ctx, s.db.Reader(), p)
	if err != nil {
		return page.Page[Log]{}, err
	}
	return page.Cut(rows, p.Page, func(l Log) page.Position { return page.Position{l.CreatedAt.UnixMilli(), l.ID} }), nil
}
