package org

import (
	"context"
	"database/sql"
	"errors"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
)

// Caps are an organization's limits of a billing cycle by kind of agent, in whole ACUs; nil is none, 0 blocks. Cloud is what sessions may
// use, the same as Limits.Cycle. Local is kept for clients that set it: Gantry runs no local agents.
type Caps struct {
	Cloud *int64
	Local *int64
}

// CapParams change an organization's caps.
type CapParams struct {
	OrgID string
	Cloud LimitChange
	Local LimitChange
}

// Caps reads an organization's caps. It needs ViewAccountConsumption.
func (s *Service) Caps(ctx context.Context, sub access.Subject, orgID string) (Caps, error) {
	if err := access.Require(sub, access.ViewAccountConsumption, ""); err != nil {
		return Caps{}, err
	}
	return findCaps(ctx, s.db.Reader(), orgID)
}

// SetCaps changes the caps that are named and keeps the rest. It needs ManageBilling.
func (s *Service) SetCaps(ctx context.Context, sub access.Subject, p CapParams) error {
	if err := access.Require(sub, access.ManageBilling, ""); err != nil {
		return err
	}
	for _, c := range []LimitChange{p.Cloud, p.Local} {
		if err := c.Validate("cycle_acu_limit"); err != nil {
			return err
		}
	}
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		at := s.db.Clock().Millis()
		if n, err := touch(ctx, tx, p.OrgID, at); err != nil || n == 0 {
			return orNone(err)
		}
		c, err := findCaps(ctx, tx, p.OrgID)
		if err != nil {
			return err
		}
		p.Cloud.apply(&c.Cloud)
		p.Local.apply(&c.Local)
		if _, err := db.Exec(ctx, tx, `UPDATE organizations SET max_cycle_acu_limit = $1, max_cycle_local_acu_limit = $2 WHERE org_id = $3`,
			c.Cloud, c.Local, p.OrgID); err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, sub, at, audit.Entry{
			Action: audit.UpdateOrgSettings, OrgID: p.OrgID,
			Data: map[string]any{"max_cycle_acu_limit": c.Cloud, "max_cycle_local_acu_limit": c.Local},
		})
	})
}

func findCaps(ctx context.Context, q db.Querier, orgID string) (Caps, error) {
	c, err := db.One(ctx, q, func(s db.Scanner) (Caps, error) {
		var cloud, local sql.NullInt64
		err := s.Scan(&cloud, &local)
		return Caps{Cloud: nullable(cloud), Local: nullable(local)}, err
	}, `SELECT max_cycle_acu_limit, max_cycle_local_acu_limit FROM organizations WHERE org_id = $1 AND deleted_at IS NULL`, orgID)
	if errors.Is(err, db.ErrNone) {
		return c, errNone
	}
	return c, err
}

// Capped is an organization with a limit of the cycle for sessions.
type Capped struct {
	OrgID string
	Cycle int64
}

// CappedAfter lists organizations with such a limit by id, from after on. It authorises nobody: the usage room lists limits of all kinds.
func (s *Service) CappedAfter(ctx context.Context, q db.Querier, after string, limit int) ([]Capped, error) {
	return db.All(ctx, q, func(s db.Scanner) (Capped, error) {
		var c Capped
		return c, s.Scan(&c.OrgID, &c.Cycle)
	}, `SELECT org_id, max_cycle_acu_limit FROM organizations
		WHERE max_cycle_acu_limit IS NOT NULL AND deleted_at IS NULL AND org_id > $1 ORDER BY org_id LIMIT $2`, after, limit)
}
