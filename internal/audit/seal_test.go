package audit_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

// ledger is a table with a key.
type ledger struct {
	*audit.Service
	db *db.DB
}

func eachLedger(t *testing.T, f func(t *testing.T, l *ledger)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		d.SignWith(testKey)
		f(t, &ledger{Service: audit.New(d), db: d})
	})
}

// write makes n entries whose times go backwards: the seal's order is its own.
func (l *ledger) write(t *testing.T, n int) {
	t.Helper()
	require.NoError(t, l.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		for i := range n {
			err := audit.RecordTx(ctx, tx, auditor, int64(1000-i), audit.Entry{Action: audit.CreateSession, OrgID: "org-1", Data: map[string]any{"n": i}})
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

func (l *ledger) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	require.NoError(t, l.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, query, args...)
		require.Positive(t, n, "the statement of the test does something: %s", query)
		return err
	}))
}

func (l *ledger) verify(t *testing.T, anchor audit.Anchor) *audit.Report {
	t.Helper()
	r, err := l.Verify(t.Context(), auditor, anchor)
	require.NoError(t, err)
	return r
}

func (l *ledger) head(t *testing.T) audit.Anchor {
	t.Helper()
	a, err := l.Head(t.Context(), auditor)
	require.NoError(t, err)
	return a
}

func TestASealedTableIsWhole(t *testing.T) {
	t.Parallel()
	eachLedger(t, func(t *testing.T, l *ledger) {
		require.Empty(t, l.verify(t, audit.Anchor{}).Findings, "an empty table")
		require.Zero(t, l.head(t).Number)
		l.write(t, 5)
		r := l.verify(t, audit.Anchor{})
		require.Empty(t, r.Findings)
		require.EqualValues(t, 5, r.Fresh)
		first := l.head(t)
		require.EqualValues(t, 5, first.Number)
		l.write(t, 1200) // several batches
		second := l.head(t)
		require.EqualValues(t, 1205, second.Number)
		for _, a := range []audit.Anchor{{}, first, second} {
			r = l.verify(t, a)
			require.Empty(t, r.Findings)
			require.EqualValues(t, 1205, r.Sealed)
			require.Zero(t, r.Fresh)
			require.Equal(t, second, r.Head)
		}
		back, err := audit.ParseAnchor(first.String() + "\n")
		require.NoError(t, err)
		require.Equal(t, first, back)
	})
}

// forged is a row as somebody with SQL and no key would make it.
const forged = `INSERT INTO audit_entries (audit_log_id, created_at, action, data, stamp, number, link) VALUES ($1, $2, 'delete_org', '{}', $3, $4, $5)`

func TestWhoeverRewritesTheTableIsFound(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		do     func(t *testing.T, l *ledger)
		kind   audit.FindingKind
		number int64
		id     string // of the finding, where the test knows it
	}{
		"a changed text": {func(t *testing.T, l *ledger) {
			l.exec(t, `UPDATE audit_entries SET data = '{"n":99}' WHERE number = 7`)
		}, audit.Changed, 7, ""},
		"a changed actor": {func(t *testing.T, l *ledger) {
			l.exec(t, `UPDATE audit_entries SET service_user_name = 'somebody' WHERE number = 1`)
		}, audit.Changed, 1, ""},
		"a null that became an empty text": {func(t *testing.T, l *ledger) {
			l.exec(t, `UPDATE audit_entries SET user_id = '' WHERE number = 20`)
		}, audit.Changed, 20, ""},
		"a changed time": {func(t *testing.T, l *ledger) {
			l.exec(t, `UPDATE audit_entries SET created_at = created_at + 1 WHERE number = 7`)
		}, audit.Changed, 7, ""},
		"a changed link": {func(t *testing.T, l *ledger) {
			l.exec(t, `UPDATE audit_entries SET link = stamp WHERE number = 7`)
		}, audit.Changed, 7, ""},
		"two that changed places": {func(t *testing.T, l *ledger) {
			l.exec(t, `UPDATE audit_entries SET number = 1000 WHERE number = 7`)
			l.exec(t, `UPDATE audit_entries SET number = 7 WHERE number = 8`)
			l.exec(t, `UPDATE audit_entries SET number = 8 WHERE number = 1000`)
		}, audit.Changed, 7, ""},
		"a missing entry": {func(t *testing.T, l *ledger) {
			l.exec(t, `DELETE FROM audit_entries WHERE number = 7`)
		}, audit.Missing, 7, ""},
		"missing entries at the beginning": {func(t *testing.T, l *ledger) {
			l.exec(t, `DELETE FROM audit_entries WHERE number <= 3`)
		}, audit.Missing, 1, ""},
		"an entry that was unsealed": {func(t *testing.T, l *ledger) {
			l.exec(t, `UPDATE audit_entries SET number = NULL, link = NULL WHERE number = 7`)
			require.NoError(t, l.Seal(t.Context()))
		}, audit.Missing, 7, ""},
		"an inserted entry, not sealed yet": {func(t *testing.T, l *ledger) {
			l.exec(t, forged, "audit-x", 995, nil, nil, nil)
		}, audit.Inserted, 0, "audit-x"},
		"an inserted entry with a made-up stamp, sealed since": {func(t *testing.T, l *ledger) {
			l.exec(t, forged, "audit-x", 995, []byte("stamp"), nil, nil)
			require.NoError(t, l.Seal(t.Context()))
		}, audit.Inserted, 21, "audit-x"},
		"an inserted entry without a stamp, sealed since": {func(t *testing.T, l *ledger) {
			l.exec(t, forged, "audit-x", -5, nil, nil, nil)
			require.NoError(t, l.Seal(t.Context()))
		}, audit.Inserted, 21, "audit-x"},
		"a copy of an entry": {func(t *testing.T, l *ledger) {
			l.exec(t, `INSERT INTO audit_entries (audit_log_id, created_at, action, org_id, service_user_name, data, stamp)
				SELECT 'audit-x', created_at, action, org_id, service_user_name, data, stamp FROM audit_entries WHERE number = 7`)
		}, audit.Inserted, 0, "audit-x"},
		"an inserted entry before the first": {func(t *testing.T, l *ledger) {
			l.exec(t, forged, "audit-x", 1, nil, 0, []byte("link"))
		}, audit.Inserted, 0, "audit-x"},
		"an inserted entry beyond the head": {func(t *testing.T, l *ledger) {
			l.exec(t, forged, "audit-x", 1, nil, int64(math.MaxInt64), []byte("link"))
		}, audit.Inserted, math.MaxInt64, ""},
		"an end that was cut off": {func(t *testing.T, l *ledger) {
			l.exec(t, `DELETE FROM audit_entries WHERE number > 15`)
		}, audit.CutOff, 16, ""},
		"all of it": {func(t *testing.T, l *ledger) {
			l.exec(t, `DELETE FROM audit_entries`)
		}, audit.CutOff, 1, ""},
		"a head that was turned back": {func(t *testing.T, l *ledger) {
			l.exec(t, `UPDATE audit_head SET number = 15, link = (SELECT link FROM audit_entries WHERE number = 15)`)
		}, audit.Inserted, 20, ""},
		"a head with another link": {func(t *testing.T, l *ledger) {
			l.exec(t, `UPDATE audit_head SET link = (SELECT link FROM audit_entries WHERE number = 15)`)
		}, audit.Changed, 20, ""},
		"a head that is gone": {func(t *testing.T, l *ledger) {
			l.exec(t, `DELETE FROM audit_head`)
		}, audit.CutOff, 0, ""},
	}
	eachLedger(t, func(t *testing.T, l *ledger) {
		for name, c := range cases {
			l.anew(t)
			l.write(t, 20)
			l.head(t)
			require.Empty(t, l.verify(t, audit.Anchor{}).Findings, name)
			c.do(t, l)
			r := l.verify(t, audit.Anchor{})
			require.Len(t, r.Findings, r.Wrong, name)
			var found *audit.Finding
			for _, f := range r.Findings {
				if f.Kind == c.kind && f.Number == c.number {
					found = &f
				}
			}
			require.NotNil(t, found, "%s: %+v", name, r.Findings)
			if c.id != "" {
				require.Equal(t, c.id, found.ID, name)
			}
			if c.kind == audit.Missing && c.number == 7 {
				require.Len(t, r.Findings, 1, "%s: the rest is as it was: %+v", name, r.Findings)
			}
		}
	})
}

// anew empties the table and the seal.
func (l *ledger) anew(t *testing.T) {
	t.Helper()
	require.NoError(t, l.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		for _, q := range []string{
			`DELETE FROM audit_entries`, `DELETE FROM audit_head`, `INSERT INTO audit_head (id, number, sealed_at) VALUES (1, 0, 0)`,
		} {
			if _, err := db.Exec(ctx, tx, q); err != nil {
				return err
			}
		}
		return nil
	}))
}

func TestOnlyAnAnchorFindsAnEndThatWasCutOffWithTheHeadTurnedBack(t *testing.T) {
	t.Parallel()
	eachLedger(t, func(t *testing.T, l *ledger) {
		l.write(t, 10)
		early := l.head(t)
		l.write(t, 10)
		anchor := l.head(t)
		l.exec(t, `DELETE FROM audit_entries WHERE number > 15`)
		l.exec(t, `UPDATE audit_head SET number = 15, link = (SELECT link FROM audit_entries WHERE number = 15)`)
		require.Empty(t, l.verify(t, audit.Anchor{}).Findings, "a thief who turns everything back leaves no trace in the table")
		require.Empty(t, l.verify(t, early).Findings, "nor before the place of the cut")
		r := l.verify(t, anchor)
		require.Len(t, r.Findings, 1)
		require.Equal(t, audit.Finding{Kind: audit.CutOff, Number: 16, Text: "entries 16 to 20 are gone"}, r.Findings[0])
		// What is written since doesn't cover it.
		l.write(t, 30)
		l.head(t)
		require.Empty(t, l.verify(t, audit.Anchor{}).Findings)
		r = l.verify(t, anchor)
		require.Len(t, r.Findings, 1)
		require.Equal(t, audit.Changed, r.Findings[0].Kind)
		require.EqualValues(t, 20, r.Findings[0].Number)
	})
}

func TestEveryCommittedEntryIsSealedOnceWhileManyWriteAndSeal(t *testing.T) {
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			url := dbtest.URL(t, e)
			open := func() *ledger {
				d, err := db.Open(t.Context(), url, db.Options{BusyTimeout: time.Minute})
				require.NoError(t, err)
				t.Cleanup(func() { _ = d.Close() })
				d.SignWith(testKey)
				return &ledger{Service: audit.New(d), db: d}
			}
			const writers, each = 8, 60
			replicas := []*ledger{open(), open()}
			ctx, cancel := context.WithCancel(t.Context())
			var writing, sealing sync.WaitGroup
			for i, l := range replicas {
				for w := range writers / 2 {
					writing.Go(func() { scribble(t, l.db, i*writers+w, each) })
				}
				for range 2 {
					sealing.Go(func() {
						for ctx.Err() == nil {
							_ = l.Seal(ctx) // ends with ctx
						}
					})
				}
			}
			sealing.Go(func() {
				for ctx.Err() == nil {
					r, err := replicas[0].Verify(ctx, auditor, audit.Anchor{})
					if ctx.Err() == nil {
						require.NoError(t, err)
						require.Empty(t, r.Findings, "a table that grows is whole all the time")
					}
				}
			})
			writing.Wait()
			require.NoError(t, replicas[1].Seal(t.Context()))
			cancel()
			sealing.Wait()
			r := replicas[0].verify(t, audit.Anchor{})
			require.Empty(t, r.Findings)
			require.EqualValues(t, writers*each*2/3, r.Sealed, "each once, and none of what was rolled back")
			require.Equal(t, r.Sealed, r.Head.Number)
			require.Zero(t, r.Fresh)
		})
	}
}

// scribble writes entries in transactions that live for different times, so that they become visible in another order than they were
// made in. Every third is rolled back.
func scribble(t *testing.T, d *db.DB, who, n int) {
	for i := range n {
		err := d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			err := audit.RecordTx(ctx, tx, auditor, int64(i), audit.Entry{Action: audit.CreateOrg, Data: map[string]any{"who": who, "i": i}})
			if d.Engine() == db.Postgres {
				clock.Sleep(ctx, time.Duration((who*7+i*3)%13)*time.Millisecond)
			}
			if i%3 == 0 && err == nil {
				return fault.New(fault.Conflict, "thought better of it")
			}
			return err
		})
		if i%3 != 0 {
			require.NoError(t, err)
		}
	}
}

func TestAnEntryThatIsCommittedLateIsSealedLate(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, db.Postgres, clock.Clock{}) // SQLite has one writer: what is made first is committed first
	d.SignWith(testKey)
	l := &ledger{Service: audit.New(d), db: d}
	made, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			err := audit.RecordTx(ctx, tx, auditor, 1, audit.Entry{Action: audit.DeleteOrg})
			close(made)
			<-goOn
			return err
		})
	}()
	<-made
	l.write(t, 3)
	require.EqualValues(t, 3, l.head(t).Number)
	close(goOn)
	require.NoError(t, <-done)
	require.EqualValues(t, 4, l.head(t).Number)
	action, err := db.One(t.Context(), d.Reader(), db.Text, `SELECT action FROM audit_entries WHERE number = 4`)
	require.NoError(t, err)
	require.Equal(t, string(audit.DeleteOrg), action)
	require.Empty(t, l.verify(t, audit.Anchor{}).Findings)
}

func TestEntriesFromBeforeThereWereStampsAreSealedAsTheyAre(t *testing.T) {
	t.Parallel()
	eachLedger(t, func(t *testing.T, l *ledger) {
		for i := range 3 {
			l.exec(t, forged, fmt.Sprint("audit-old-", i), i, nil, nil, nil)
		}
		require.Empty(t, l.verify(t, audit.Anchor{}).Findings, "an upgrade that nobody sealed yet")
		l.write(t, 3)
		require.EqualValues(t, 6, l.head(t).Number)
		require.Empty(t, l.verify(t, audit.Anchor{}).Findings)
		l.exec(t, `UPDATE audit_entries SET data = '{"x":1}' WHERE audit_log_id = 'audit-old-1'`)
		r := l.verify(t, audit.Anchor{})
		require.Len(t, r.Findings, 1)
		require.Equal(t, audit.Changed, r.Findings[0].Kind)
	})
}

func TestAnotherKeyOpensNothing(t *testing.T) {
	t.Parallel()
	eachLedger(t, func(t *testing.T, l *ledger) {
		l.write(t, 150)
		l.head(t)
		l.db.SignWith([]byte("another key of thirty-two bytes."))
		r := l.verify(t, audit.Anchor{})
		require.Equal(t, 150, r.Wrong, "each is counted")
		require.Len(t, r.Findings, 100, "and the first are told")
	})
}

func TestRunSealsWithinSecondsAndReplicasTakeTurns(t *testing.T) {
	t.Parallel()
	eachLedger(t, func(t *testing.T, l *ledger) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var log strings.Builder
		for range 3 {
			wg.Go(func() { l.Run(ctx, quiet(&log)) })
		}
		l.write(t, 10)
		require.Eventually(t, func() bool { return l.verify(t, audit.Anchor{}).Sealed == 10 }, 10*time.Second, 20*time.Millisecond)
		cancel()
		wg.Wait()
		require.Empty(t, l.verify(t, audit.Anchor{}).Findings)
		require.Empty(t, log.String())
	})
}

func TestAnAnchorOfAnotherFormIsRefused(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "5:ab", "gantry-audit-1:5", "gantry-audit-1:x:ab", "gantry-audit-1:-1:ab", "gantry-audit-1:5:xyz", "gantry-audit-1:5:", "gantry-audit-1:0:ab", "gantry-audit-2:5:ab"} {
		_, err := audit.ParseAnchor(bad)
		require.True(t, fault.Is(err, fault.Invalid), bad)
	}
	a, err := audit.ParseAnchor(audit.Anchor{}.String())
	require.NoError(t, err)
	require.Zero(t, a.Number)
}

func TestSealingAndVerifyingNeedThePermissionAndAKey(t *testing.T) {
	t.Parallel()
	eachLedger(t, func(t *testing.T, l *ledger) {
		weak := access.As("test", access.ManageOrganizations)
		_, err := l.Head(t.Context(), weak)
		require.True(t, fault.Is(err, fault.Forbidden))
		_, err = l.Verify(t.Context(), weak, audit.Anchor{})
		require.True(t, fault.Is(err, fault.Forbidden))
		l.write(t, 1)
		l.db.SignWith(nil)
		_, err = l.Head(t.Context(), auditor)
		require.ErrorContains(t, err, "no key")
		_, err = l.Verify(t.Context(), auditor, audit.Anchor{})
		require.ErrorContains(t, err, "no key")
	})
}
