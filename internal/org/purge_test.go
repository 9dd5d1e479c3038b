package org_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/org"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/page"
)

const month = 30 * 24 * time.Hour

// remains are two rooms that keep so many things of each organization, and take one away in a step.
type remains struct {
	mu      sync.Mutex
	secrets map[string]int
	rest    map[string]int
	steps   []string
	fails   map[string]error // by step
}

func newRemains() *remains {
	return &remains{secrets: map[string]int{}, rest: map[string]int{}, fails: map[string]error{}}
}

func (r *remains) take(name string, from map[string]int, orgID, after string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	step := name + " " + after
	r.steps = append(r.steps, step)
	if err := r.fails[step]; err != nil {
		return "", err
	}
	if from[orgID] == 0 {
		return "", nil
	}
	from[orgID]--
	n := 0
	_, _ = fmt.Sscan(after, &n)
	return fmt.Sprint(n + 1), nil
}

func (r *remains) of() []org.Remains {
	return []org.Remains{
		{Name: "secrets", Secret: true, Purge: func(_ context.Context, orgID, after string) (string, error) {
			return r.take("secrets", r.secrets, orgID, after)
		}},
		{Name: "rest", Purge: func(_ context.Context, orgID, after string) (string, error) {
			return r.take("rest", r.rest, orgID, after)
		}},
	}
}

// eachPurge runs a test on both engines, at a time that it turns.
func eachPurge(t *testing.T, f func(t *testing.T, d *db.DB, time *clock.Fake)) {
	t.Helper()
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			fake := clock.NewFake(time.Unix(1_800_000_000, 0))
			f(t, dbtest.Open(t, e, fake.Clock()), fake)
		})
	}
}

func purgeActions(t *testing.T, d *db.DB, orgID string) []audit.Action {
	t.Helper()
	p, err := audit.New(d).List(t.Context(), boss, audit.ListParams{OrgID: orgID, Order: audit.Asc, Page: page.Request{First: 10}})
	require.NoError(t, err)
	var out []audit.Action
	for _, l := range p.Items {
		out = append(out, l.Action)
	}
	return out
}

func TestSecretsGoAtOnceAndTheRestAfterTheGracePeriod(t *testing.T) {
	eachPurge(t, func(t *testing.T, d *db.DB, at *clock.Fake) {
		ctx, r := t.Context(), newRemains()
		s := service(d, org.Options{})
		s.Leaves(r.of()...)
		gone, kept := newOrg(t, s, "gone"), newOrg(t, s, "kept")
		for _, o := range []string{gone, kept} {
			r.secrets[o], r.rest[o] = 2, 3
		}
		_, err := s.AddTags(ctx, boss, gone, []string{"a", "b"})
		require.NoError(t, err)
		_, err = s.SetDefaultTag(ctx, boss, gone, "a")
		require.NoError(t, err)
		require.NoError(t, s.Purge(ctx))
		require.Empty(t, r.steps, "nothing of who lives")

		_, err = s.Delete(ctx, boss, gone)
		require.NoError(t, err)
		require.NoError(t, s.Purge(ctx))
		require.Equal(t, []string{"secrets ", "secrets 1", "secrets 2"}, r.steps)
		require.Equal(t, map[string]int{gone: 3, kept: 3}, r.rest)
		at.Advance(month - time.Millisecond)
		require.NoError(t, s.Purge(ctx))
		require.Len(t, r.steps, 3, "the rest waits")
		r.secrets[gone] = 1 // made at the moment of the deletion
		at.Advance(time.Millisecond)
		require.NoError(t, s.Purge(ctx))
		require.Equal(t, []string{"secrets ", "secrets 1", "rest ", "rest 1", "rest 2", "rest 3"}, r.steps[3:])
		require.Equal(t, map[string]int{gone: 0, kept: 2}, r.secrets)
		require.Equal(t, map[string]int{gone: 0, kept: 3}, r.rest)
		left, err := db.One(ctx, d.Reader(), db.Int, `SELECT (SELECT COUNT(*) FROM org_tags) + (SELECT COUNT(default_tag) FROM organizations)`)
		require.NoError(t, err)
		require.Zero(t, left)

		at.Advance(month)
		require.NoError(t, s.Purge(ctx))
		require.Len(t, r.steps, 9, "and then never again")
		require.Equal(t, []audit.Action{audit.CreateOrg, audit.UpdateOrgSettings, audit.UpdateOrgSettings, audit.DeleteOrg, audit.PurgeOrg}, purgeActions(t, d, gone))
	})
}

var errRoom = errors.New("a room's trouble")

func TestARoomMayTakePartInTheDeletionOrStopIt(t *testing.T) {
	eachPurge(t, func(t *testing.T, d *db.DB, _ *clock.Fake) {
		ctx := t.Context()
		s := service(d, org.Options{})
		var ended []string
		var trouble error
		s.Leaves(org.Remains{Name: "part", EndTx: func(_ context.Context, _ *db.Tx, orgID string) error {
			ended = append(ended, orgID)
			return trouble
		}, Purge: org.Bit(func(context.Context, string) (bool, error) { return false, nil })})
		a, b := newOrg(t, s, "a"), newOrg(t, s, "b")
		_, err := s.Delete(ctx, boss, a)
		require.NoError(t, err)
		require.Equal(t, []string{a}, ended)
		trouble = errRoom
		_, err = s.Delete(ctx, boss, b)
		require.ErrorIs(t, err, errRoom)
		_, err = s.Get(ctx, boss, b)
		require.NoError(t, err, "nothing is half done")
	})
}

func TestAFailedStepIsDoneAgainLaterAndKeepsNobodyElseWaiting(t *testing.T) {
	eachPurge(t, func(t *testing.T, d *db.DB, at *clock.Fake) {
		ctx, r := t.Context(), newRemains()
		s := service(d, org.Options{PurgeAfter: time.Hour})
		s.Leaves(r.of()...)
		first, second := newOrg(t, s, "first"), newOrg(t, s, "second")
		r.secrets[first], r.secrets[second], r.rest[first], r.rest[second] = 1, 1, 2, 1
		for _, o := range []string{first, second} {
			_, err := s.Delete(ctx, boss, o)
			require.NoError(t, err)
			at.Advance(time.Second)
		}
		require.NoError(t, s.Purge(ctx))
		at.Advance(time.Hour)
		r.fails["rest 2"] = errRoom
		err := s.Purge(ctx)
		require.ErrorIs(t, err, errRoom)
		require.ErrorContains(t, err, first)
		require.Zero(t, r.rest[second], "the other organization is done")
		require.Contains(t, purgeActions(t, d, second), audit.PurgeOrg)

		r.fails, r.steps = map[string]error{}, nil
		require.NoError(t, s.Purge(ctx))
		require.Empty(t, r.steps, "it waits a minute")
		at.Advance(time.Minute)
		require.NoError(t, s.Purge(ctx))
		require.Equal(t, []string{"rest 2"}, r.steps, "it goes on where it was")
		require.Contains(t, purgeActions(t, d, first), audit.PurgeOrg)
	})
}

func TestALookIsBoundedAndTheNextOneGoesOn(t *testing.T) {
	eachPurge(t, func(t *testing.T, d *db.DB, at *clock.Fake) {
		ctx, r := t.Context(), newRemains()
		s := service(d, org.Options{PurgeAfter: time.Hour})
		s.Leaves(r.of()...)
		o := newOrg(t, s, "large")
		r.rest[o] = 250
		_, err := s.Delete(ctx, boss, o)
		require.NoError(t, err)
		require.NoError(t, s.Purge(ctx))
		at.Advance(time.Hour)
		require.NoError(t, s.Purge(ctx))
		require.Equal(t, 51, r.rest[o], "one step found no secrets, the others took")
		require.NoError(t, s.Purge(ctx))
		require.Zero(t, r.rest[o])
		require.Contains(t, purgeActions(t, d, o), audit.PurgeOrg)
	})
}

func TestALookThatEndsWithTheLastStepIsTheEnd(t *testing.T) {
	eachPurge(t, func(t *testing.T, d *db.DB, at *clock.Fake) {
		ctx, r := t.Context(), newRemains()
		s := service(d, org.Options{PurgeAfter: time.Hour})
		s.Leaves(r.of()...)
		o := newOrg(t, s, "even")
		r.rest[o] = 197 // with the looks that find no secret, no rest and no settings: two hundred
		_, err := s.Delete(ctx, boss, o)
		require.NoError(t, err)
		require.NoError(t, s.Purge(ctx))
		at.Advance(time.Hour)
		require.NoError(t, s.Purge(ctx))
		require.Zero(t, r.rest[o])
		require.Contains(t, purgeActions(t, d, o), audit.PurgeOrg)
	})
}

func TestSecretsDoNotWaitForOthersRest(t *testing.T) {
	eachPurge(t, func(t *testing.T, d *db.DB, at *clock.Fake) {
		ctx, r := t.Context(), newRemains()
		s := service(d, org.Options{PurgeAfter: time.Hour})
		s.Leaves(r.of()...)
		remove := func(name string) string {
			o := newOrg(t, s, name)
			_, err := s.Delete(ctx, boss, o)
			require.NoError(t, err)
			return o
		}
		for range 10 {
			r.rest[remove("large")] = 300
		}
		require.NoError(t, s.Purge(ctx))
		at.Advance(time.Hour)
		fresh := remove("fresh")
		r.secrets[fresh] = 1
		require.NoError(t, s.Purge(ctx))
		require.Zero(t, r.secrets[fresh])
	})
}

func TestADeadReplicasWorkIsTakenOverWhereItStood(t *testing.T) {
	eachPurge(t, func(t *testing.T, d *db.DB, at *clock.Fake) {
		ctx := t.Context()
		began, release := make(chan struct{}), make(chan struct{})
		var slow atomic.Int64
		dead := service(d, org.Options{PurgeAfter: time.Hour})
		dead.Leaves(org.Remains{Name: "rest", Purge: func(_ context.Context, _, after string) (string, error) {
			if after == "" {
				return "1", nil
			}
			slow.Add(1)
			close(began)
			<-release
			return "2", nil
		}})
		o := newOrg(t, dead, "gone")
		_, err := dead.Delete(ctx, boss, o)
		require.NoError(t, err)
		require.NoError(t, dead.Purge(ctx)) // no secrets
		at.Advance(time.Hour)
		var wg sync.WaitGroup
		wg.Go(func() { _ = dead.Purge(context.Background()) })
		<-began

		var steps []string
		alive := service(d, org.Options{PurgeAfter: time.Hour})
		alive.Leaves(org.Remains{Name: "rest", Purge: func(_ context.Context, _, after string) (string, error) {
			steps = append(steps, after)
			return "", nil
		}})
		require.NoError(t, alive.Purge(ctx))
		require.Empty(t, steps, "somebody is at it")
		at.Advance(11 * time.Minute)
		require.NoError(t, alive.Purge(ctx))
		require.Equal(t, []string{"1"}, steps)
		require.Contains(t, purgeActions(t, d, o), audit.PurgeOrg)
		close(release)
		wg.Wait()
		require.EqualValues(t, 1, slow.Load(), "who lost the claim stops")
		stage, err := db.One(ctx, d.Reader(), db.Int, `SELECT purge_stage FROM organizations WHERE org_id = $1`, o)
		require.NoError(t, err)
		require.EqualValues(t, 2, stage)
	})
}

func TestOneReplicaAtATimeWorksOnAnOrganization(t *testing.T) {
	eachPurge(t, func(t *testing.T, d *db.DB, at *clock.Fake) {
		ctx, r := t.Context(), newRemains()
		var busy, most atomic.Int64
		replicas := make([]*org.Service, 4)
		for i := range replicas {
			replicas[i] = service(d, org.Options{PurgeAfter: time.Hour})
			replicas[i].Leaves(org.Remains{Name: "rest", Purge: func(_ context.Context, orgID, after string) (string, error) {
				most.Store(max(most.Load(), busy.Add(1)))
				defer busy.Add(-1)
				return r.take("rest", r.rest, orgID, after)
			}})
		}
		o := newOrg(t, replicas[0], "gone")
		r.rest[o] = 30
		_, err := replicas[0].Delete(ctx, boss, o)
		require.NoError(t, err)
		require.NoError(t, replicas[0].Purge(ctx))
		at.Advance(time.Hour)
		var wg sync.WaitGroup
		errs := make([]error, len(replicas))
		for i, s := range replicas {
			wg.Go(func() { errs[i] = s.Purge(context.Background()) })
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		require.EqualValues(t, 1, most.Load())
		require.Zero(t, r.rest[o])
		require.Len(t, r.steps, 31)
		require.Equal(t, []audit.Action{audit.CreateOrg, audit.DeleteOrg, audit.PurgeOrg}, purgeActions(t, d, o))
	})
}

func TestWhatAnotherReleaseBeganBeginsAnew(t *testing.T) {
	eachPurge(t, func(t *testing.T, d *db.DB, _ *clock.Fake) {
		ctx, r := t.Context(), newRemains()
		s := service(d, org.Options{PurgeAfter: time.Hour})
		s.Leaves(r.of()...)
		require.NoError(t, d.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, `INSERT INTO organizations (org_id, name, created_at, updated_at, deleted_at, purge_stage, purge_place)
				VALUES ('org-old', 'x', 0, 0, 1, 1, 'unheard of')`)
			return err
		}))
		require.NoError(t, s.Purge(ctx))
		require.Equal(t, []string{"secrets ", "rest "}, r.steps)
	})
}

func TestAuditEntriesOfThePurgeAreTheServers(t *testing.T) {
	eachPurge(t, func(t *testing.T, d *db.DB, at *clock.Fake) {
		s := service(d, org.Options{PurgeAfter: time.Hour})
		o := newOrg(t, s, "gone")
		_, err := s.Delete(t.Context(), boss, o)
		require.NoError(t, err)
		for range 2 {
			require.NoError(t, s.Purge(t.Context()))
			at.Advance(time.Hour)
		}
		p, err := audit.New(d).List(t.Context(), access.As("test", access.ManageEnterpriseSettings), audit.ListParams{Action: audit.PurgeOrg, Page: page.Request{First: 2}})
		require.NoError(t, err)
		require.Len(t, p.Items, 1)
		require.JSONEq(t, `{"name":"gone"}`, string(p.Items[0].Data))
		require.Empty(t, p.Items[0].UserID+p.Items[0].ServiceUserID)
	})
}
