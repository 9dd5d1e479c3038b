package usage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/org"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

// Level is where a limit of the billing cycle is set.
type Level string

// The levels.
const (
	OfUser       Level = "user"
	OfOrg        Level = "organization"
	OfGroup      Level = "group"
	OfEnterprise Level = "enterprise"
)

// Reached is a limit of the cycle that is used up. Limit is in whole ACUs.
type Reached struct {
	Level Level
	Limit int64
}

// what says who has used what, and whom to ask for which limit.
func (r Reached) what() (who, ask string) {
	switch r.Level {
	case OfUser:
		return "the user has used their", "contact your enterprise admin to raise the user's limit"
	case OfGroup:
		return "the organization's group has used its", "contact your enterprise admin to raise the group's max_cycle_acus"
	case OfEnterprise:
		return "the enterprise has used its", "contact your enterprise admin, whose server sets it with --cycle-acu-limit"
	case OfOrg:
	}
	return "the organization has used its", "contact your enterprise admin to raise max_cycle_acu_limit"
}

// Reason is one sentence on why a session stopped.
func (r Reached) Reason() string {
	who, ask := r.what()
	return fmt.Sprintf("%s %d ACUs of this billing cycle; %s", who, r.Limit, ask)
}

// Refusal is the answer to a wish for work that the limit forbids (contract/behaviour.md §3.17).
func (r Reached) Refusal() error { return fault.New(fault.Conflict, "%s", r.Reason()) }

// ReachedTx gives the first limit of the cycle that leaves nothing for more work of a session, nil when every one does. userID is whose
// session it is, empty for a service user's. Each level that has a limit costs one indexed read of at most a month of roll-ups, a group's
// one row for each of its organizations, or the days of one whose sum isn't kept yet; levels without a limit cost nothing more.
func (s *Service) ReachedTx(ctx context.Context, q db.Querier, orgID string, b org.Budget, userID string, now time.Time) (*Reached, error) {
	from, to := s.Cycle(now)
	since, until := from.UnixMilli(), to.UnixMilli()
	if b.Cycle != nil {
		if r, err := reached(OfOrg, *b.Cycle, func() (int64, error) { return s.OrgCycle(ctx, q, orgID, now) }); r != nil || err != nil {
			return r, err
		}
	}
	if b.Group != nil {
		if r, err := reached(OfGroup, b.Group.Cycle, func() (int64, error) {
			return db.One(ctx, q, db.Int, groupCycle, since, until, b.Group.Name)
		}); r != nil || err != nil {
			return r, err
		}
	}
	if l := s.o.CycleLimit; l != nil {
		if r, err := reached(OfEnterprise, *l, func() (int64, error) {
			return db.One(ctx, q, db.Int, enterpriseCycle, since, until)
		}); r != nil || err != nil {
			return r, err
		}
	}
	if userID == "" {
		return nil, nil
	}
	limit, err := effectiveLimit(ctx, q, userID)
	if errors.Is(err, db.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return reached(OfUser, limit, func() (int64, error) { return db.One(ctx, q, db.Int, userCycle, userID, since, until) })
}

// reached holds what was used against a limit.
func reached(l Level, limit int64, used func() (int64, error)) (*Reached, error) {
	if limit > 0 {
		n, err := used()
		if err != nil || n < limit*Micros {
			return nil, err
		}
	}
	return &Reached{Level: l, Limit: limit}, nil
}

// Limit is one limit of the cycle for sessions: the enterprise's, an organization's or a person's own.
type Limit struct {
	Level  Level
	OrgID  string
	UserID string
	Cycle  int64
}

// The parts of the list of limits, in their order.
const (
	partEnterprise int64 = iota
	partOrgs
	partUsers
)

// Limits lists the limits that sessions are held against: the enterprise's, then the organizations' by id, then the people's own by id.
// It needs ManageBilling or ViewAccountConsumption.
func (s *Service) Limits(ctx context.Context, sub access.Subject, r page.Request) (page.Page[Limit], error) {
	if err := mayRead(sub, ""); err != nil {
		return page.Page[Limit]{}, err
	}
	part, after, err := limitPosition(r.After)
	if err != nil {
		return page.Page[Limit]{}, err
	}
	q := s.db.Reader()
	var rows []Limit
	if r.After == nil && s.o.CycleLimit != nil {
		rows = append(rows, Limit{Level: OfEnterprise, Cycle: *s.o.CycleLimit})
	}
	if part <= partOrgs {
		orgs, err := s.o.Orgs.CappedAfter(ctx, q, after, r.Limit()-len(rows))
		if err != nil {
			return page.Page[Limit]{}, err
		}
		for _, o := range orgs {
			rows = append(rows, Limit{Level: OfOrg, OrgID: o.OrgID, Cycle: o.Cycle})
		}
		after = ""
	}
	if left := r.Limit() - len(rows); left > 0 {
		users, err := db.All(ctx, q, scanUserLimit, limitedUsers, after, left)
		if err != nil {
			return page.Page[Limit]{}, err
		}
		for _, u := range users {
			rows = append(rows, Limit{Level: OfUser, UserID: u.userID, Cycle: u.cycle.Int64})
		}
	}
	return page.Cut(rows, r, Limit.position), nil
}

func (l Limit) position() page.Position {
	switch l.Level {
	case OfUser:
		return page.Position{partUsers, l.UserID}
	case OfOrg:
		return page.Position{partOrgs, l.OrgID}
	case OfEnterprise, OfGroup:
	}
	return page.Position{partEnterprise, ""}
}

func limitPosition(p page.Position) (part int64, after string, err error) {
	if p == nil {
		return partEnterprise, "", nil
	}
	part, isPart := p[0].(int64)
	after, isID := p[1].(string)
	if !isPart || !isID {
		return 0, "", fault.New(fault.Internal, "a cursor of limits of another kind")
	}
	return part, after, nil
}

// UserLimits are what is set for one person: nil and "" where nothing is. The default that would count instead isn't shown. BillingOrgID
// is kept for clients: Gantry charges a session to its own organization.
type UserLimits struct {
	Cycle        *int64
	BillingOrgID string
}

// TextChange is a text in a request: absent unless Set, cleared when Value is nil.
type TextChange struct {
	Set   bool
	Value *string
}

// UserLimitParams change what is set for one person, or with an empty UserID the default of all.
type UserLimitParams struct {
	UserID     string
	Cycle      org.LimitChange
	BillingOrg TextChange
}

// UserLimits reads what is set for a person, with an empty id the default of all. It needs ViewAccountConsumption.
func (s *Service) UserLimits(ctx context.Context, sub access.Subject, userID string) (UserLimits, error) {
	if err := access.Require(sub, access.ViewAccountConsumption, ""); err != nil {
		return UserLimits{}, err
	}
	if err := s.mustBePerson(ctx, userID); err != nil {
		return UserLimits{}, err
	}
	return readLimits(ctx, s.db.Reader(), userID)
}

func readLimits(ctx context.Context, q db.Querier, userID string) (UserLimits, error) {
	l, err := readUserLimit(ctx, q, userID)
	out := UserLimits{BillingOrgID: l.billing.String}
	if l.cycle.Valid {
		out.Cycle = &l.cycle.Int64
	}
	return out, err
}

func (s *Service) mustBePerson(ctx context.Context, userID string) error {
	if userID == "" {
		return nil
	}
	ok, err := s.isPerson(ctx, "", userID)
	if err == nil && !ok {
		return fault.New(fault.NotFound, "user not found")
	}
	return err
}

// isOrg spares the database a text that it can't hold.
func (s *Service) isOrg(ctx context.Context, orgID string) (bool, error) {
	if !db.Storable(orgID) {
		return false, nil
	}
	return s.o.Orgs.Exists(ctx, orgID)
}

// SetUserLimits changes what is named and keeps the rest. It needs ManageBilling; 404 for a stranger, 422 for a billing organization that
// isn't there.
func (s *Service) SetUserLimits(ctx context.Context, sub access.Subject, p UserLimitParams) error {
	if err := access.Require(sub, access.ManageBilling, ""); err != nil {
		return err
	}
	if err := p.Cycle.Validate("local_agent.cycle_acu_limit"); err != nil {
		return err
	}
	if p.BillingOrg.Value != nil {
		ok, err := s.isOrg(ctx, *p.BillingOrg.Value)
		if err != nil {
			return err
		}
		if !ok {
			return fault.InvalidField("local_agent.billing_org_id", "no such organization")
		}
	}
	if err := s.mustBePerson(ctx, p.UserID); err != nil {
		return err
	}
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := writeUserLimit(ctx, tx, p); err != nil {
			return err
		}
		l, err := readLimits(ctx, tx, p.UserID)
		if err != nil {
			return err
		}
		data := map[string]any{"user_cycle_acu_limit": l.Cycle}
		if p.UserID != "" {
			data["user_id"], data["billing_org_id"] = p.UserID, nil
			if l.BillingOrgID != "" {
				data["billing_org_id"] = l.BillingOrgID
			}
		}
		return audit.RecordTx(ctx, tx, sub, s.db.Clock().Millis(), audit.Entry{Action: audit.UpdateEnterpriseSettings, Data: data})
	})
}
