package org

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
)

// Rules of what becomes of a deleted organization's data:
//   - Secrets' values go at once: the organization's in the transaction that deletes it, its sessions' right afterwards.
//   - The rest goes after a grace period (Options.PurgeAfter), a bounded step at a time.
//   - What stays: the audit log, usage, metrics, and the rows that they are about, the organization's and its sessions', without what
//     anybody wrote in them.
//   - Every replica looks; one of them at a time works on an organization. Each step may be done again: where a server dies, another
//     goes on when the claim is over.

// Stages of a deleted organization.
const (
	stageNone    = 0
	stageSecrets = 1
	stageAll     = 2
)

const (
	// DefaultPurgeAfter is the grace period unless Options say otherwise.
	DefaultPurgeAfter = 30 * 24 * time.Hour
	// purgeEvery is how often a replica looks.
	purgeEvery = 5 * time.Second
	// purgeLease is how long a claim lives after each step, stepTime how long a step may take.
	purgeLease = 10 * time.Minute
	stepTime   = 5 * time.Minute
	// stepPause lets others write between two steps.
	stepPause = 5 * time.Millisecond
	// purgePause is how long an organization waits after a failure.
	purgePause = time.Minute
	// purgeOrgs is how many organizations one look takes, purgeSteps how many steps it does for each; more waits for the next look.
	purgeOrgs  = 10
	purgeSteps = 200
)

// Remains is what one room kept of a deleted organization.
type Remains struct {
	// Name is written down while this part is being taken away: one word, the same in every release.
	Name string
	// Secret goes as soon as the organization is deleted. At the end of the grace period it is looked for once more.
	Secret bool
	// EndTx takes part in the transaction that deletes the organization; nil doesn't.
	EndTx func(ctx context.Context, tx *db.Tx, orgID string) error
	// Purge takes some of it away and says where to go on: after is what the last step gave, empty for the first; an empty answer says
	// that nothing is left. It bears to be called again for what it has done.
	Purge func(ctx context.Context, orgID, after string) (next string, err error)
}

// Bit makes a step of a function that takes some away and says whether there was any.
func Bit(f func(ctx context.Context, orgID string) (bool, error)) func(ctx context.Context, orgID, after string) (string, error) {
	return func(ctx context.Context, orgID, _ string) (string, error) {
		some, err := f(ctx, orgID)
		if err != nil || !some {
			return "", err
		}
		return "more", nil
	}
}

// Leaves names what rooms keep of organizations, in the order in which it goes. It is called once, before anything runs.
func (s *Service) Leaves(remains ...Remains) {
	s.remains = slices.Concat(remains, []Remains{{Name: "settings", Purge: Bit(s.purgeSettings)}})
}

// endRemainsTx lets the rooms take part in the transaction that deletes an organization.
func (s *Service) endRemainsTx(ctx context.Context, tx *db.Tx, orgID string) error {
	for _, r := range s.remains {
		if r.EndTx == nil {
			continue
		}
		if err := r.EndTx(ctx, tx, orgID); err != nil {
			return fmt.Errorf("end %s: %w", r.Name, err)
		}
	}
	return nil
}

// RunPurge takes away what deleted organizations left, until ctx ends. Every replica runs it.
func (s *Service) RunPurge(ctx context.Context, log *slog.Logger) {
	for clock.Sleep(ctx, purgeEvery) {
		if err := s.Purge(ctx); err != nil && ctx.Err() == nil {
			log.ErrorContext(ctx, "not all that deleted organizations left could be taken away; it is tried again", slog.Any("error", err))
		}
	}
}

// Purge looks once and takes away a bounded part.
func (s *Service) Purge(ctx context.Context) error {
	now := s.db.Clock().Now()
	due, err := purgesDue(ctx, s.db.Reader(), now.Add(-s.o.PurgeAfter).UnixMilli(), now.UnixMilli())
	if err != nil {
		return err
	}
	var failed []error // one organization's trouble doesn't keep the others waiting
	for _, p := range due {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := s.purge(ctx, p); err != nil {
			failed = append(failed, fmt.Errorf("organization %s: %w", p.orgID, err))
		}
	}
	return errors.Join(failed...)
}

// purge is one organization's row.
type purge struct {
	orgID, name string
	stage       int64
	place       string // "NAME after", empty at the beginning
	until       int64  // the claim, once there is one
}

// parts are what the next stage takes away.
func (s *Service) parts(stage int64) []Remains {
	if stage != stageNone {
		return s.remains
	}
	return slices.DeleteFunc(slices.Clone(s.remains), func(r Remains) bool { return !r.Secret })
}

// purge works on one organization, unless somebody else does.
func (s *Service) purge(ctx context.Context, p purge) error {
	if mine, err := s.claimPurge(ctx, &p); err != nil || !mine {
		return err
	}
	parts := s.parts(p.stage)
	name, after, _ := strings.Cut(p.place, " ")
	at := max(0, slices.IndexFunc(parts, func(r Remains) bool { return r.Name == name }))
	if at < len(parts) && parts[at].Name != name {
		after = "" // the beginning, or a part of another release
	}
	if len(parts) == 0 {
		return s.endPurge(ctx, p)
	}
	for range purgeSteps {
		next, err := s.step(ctx, parts[at], p.orgID, after)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", parts[at].Name, err), s.leavePurge(context.WithoutCancel(ctx), p, purgePause))
		}
		if after = next; next == "" {
			at++
		}
		if at == len(parts) {
			return s.endPurge(ctx, p)
		}
		if mine, err := s.keepPurge(ctx, &p, parts[at].Name+" "+after); err != nil || !mine {
			return err
		}
		if !clock.Sleep(ctx, stepPause) {
			break
		}
	}
	return s.leavePurge(context.WithoutCancel(ctx), p, 0)
}

func (s *Service) step(ctx context.Context, r Remains, orgID, after string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	return r.Purge(ctx, orgID, after)
}

// endPurge notes that a stage is reached. The end of the last one is audited: from then on nothing can be brought back.
func (s *Service) endPurge(ctx context.Context, p purge) error {
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		stage := p.stage + 1
		n, err := db.Exec(ctx, tx, `UPDATE organizations SET purge_stage = $1, purge_place = NULL, purge_until = NULL
			WHERE org_id = $2 AND purge_until = $3`, stage, p.orgID, p.until)
		if err != nil || n == 0 || stage != stageAll {
			return err
		}
		return audit.RecordTx(ctx, tx, access.As("purge"), s.db.Clock().Millis(), audit.Entry{
			Action: audit.PurgeOrg, OrgID: p.orgID, Data: map[string]any{"name": p.name},
		})
	})
}

// purgesDue gives the organizations of which something is to go: first any whose secrets are still there, then those deleted until a time.
func purgesDue(ctx context.Context, q db.Querier, deleted, now int64) ([]purge, error) {
	return db.All(ctx, q, func(r db.Scanner) (purge, error) {
		var p purge
		return p, r.Scan(&p.orgID, &p.name, &p.stage, &p.place)
	}, purgesDueQuery, deleted, now, purgeOrgs)
}

const purgesDueQuery = `SELECT org_id, name, purge_stage, COALESCE(purge_place, '') FROM organizations
	WHERE deleted_at IS NOT NULL AND purge_stage < 2 AND (purge_stage = 0 OR deleted_at <= $1) AND (purge_until IS NULL OR purge_until <= $2)
	ORDER BY purge_stage, deleted_at, org_id LIMIT $3`

// claimPurge takes an organization for this replica, unless it was taken or went on since it was read.
func (s *Service) claimPurge(ctx context.Context, p *purge) (bool, error) {
	now := s.db.Clock().Millis()
	p.until = now + purgeLease.Milliseconds()
	return s.movePurge(ctx, `UPDATE organizations SET purge_until = $1 WHERE org_id = $2 AND purge_stage = $3 AND COALESCE(purge_place, '') = $4
		AND (purge_until IS NULL OR purge_until <= $5)`, p.until, p.orgID, p.stage, p.place, now)
}

// keepPurge writes down how far this replica has come, and keeps its claim alive. False says that it lost the claim.
func (s *Service) keepPurge(ctx context.Context, p *purge, place string) (bool, error) {
	until := max(s.db.Clock().Millis()+purgeLease.Milliseconds(), p.until+1) // each claim is another value
	mine, err := s.movePurge(ctx, `UPDATE organizations SET purge_until = $1, purge_place = $2 WHERE org_id = $3 AND purge_until = $4`,
		until, place, p.orgID, p.until)
	p.until = until
	return mine, err
}

// leavePurge gives a claim up, for anybody after a pause.
func (s *Service) leavePurge(ctx context.Context, p purge, pause time.Duration) error {
	_, err := s.movePurge(ctx, `UPDATE organizations SET purge_until = $1 WHERE org_id = $2 AND purge_until = $3`,
		s.db.Clock().Millis()+pause.Milliseconds(), p.orgID, p.until)
	return err
}

func (s *Service) movePurge(ctx context.Context, query string, args ...any) (moved bool, err error) {
	err = s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, query, args...)
		moved = n == 1
		return err
	})
	return moved, err
}

// purgeSettings takes what this room kept besides the organization's row.
func (s *Service) purgeSettings(ctx context.Context, orgID string) (bool, error) {
	return db.ClearFirst(ctx, s.db, settingsQueries, orgID)
}

var settingsQueries = [][2]string{
	{`SELECT 1 FROM org_tags WHERE org_id = $1 LIMIT 1`, `DELETE FROM org_tags WHERE org_id = $1`},
	{
		`SELECT 1 FROM organizations WHERE org_id = $1 AND default_tag IS NOT NULL`,
		`UPDATE organizations SET default_tag = NULL WHERE org_id = $1`,
	},
}
