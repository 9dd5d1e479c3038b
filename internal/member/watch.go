package member

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"gantry/internal/platform/db"
	"gantry/internal/platform/events"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
)

// Kinds of access_changes.
const (
	changeKey       = "key"       // subject_id is an API key's or a worker key's id
	changePrincipal = "principal" // subject_id is a service user's or a person's id
	changeIPList    = "ip_list"   // the IP access list
	changeAll       = "all"
)

const (
	readEvery = time.Second
	// staleAfter is when a cache that could not be checked is trusted no more.
	staleAfter = 2 * time.Second
	// overlap is how far back each reading looks. Rows become visible when their transaction commits, later than their
	// created_at, and replicas' clocks differ; ids tell what was read before.
	overlap = 30 * time.Second
	// gap is how long a process may have been unable to read before it forgets everything instead of reading what it missed.
	gap        = 30 * time.Minute
	keepRows   = time.Hour
	sweepEvery = 10 * time.Minute
)

type watch struct {
	flight singleflight.Group
	// readAt is when the last reading that succeeded began, in Unix milliseconds of the database's clock; 0 before the first.
	readAt atomic.Int64
	mu     sync.Mutex
	seen   map[string]int64
	swept  int64
}

// changedTx tells every process to forget, and this one as soon as the transaction is durable.
func (s *Service) changedTx(ctx context.Context, tx *db.Tx, kind, subjectID string) error {
	if err := insertChange(ctx, tx, change{id: id.UUID(), kind: kind, subjectID: subjectID, at: s.db.Clock().Millis()}); err != nil {
		return err
	}
	tx.AfterCommit(func() {
		s.auth.forget(kind, subjectID)
		s.hub.Publish(events.Access, "")
	})
	return nil
}

// fresh makes sure that the cache was checked against the database within the last two seconds. It reads itself when Run is late,
// and answers 503 when that fails: rather no service than one with a revoked key.
func (a *Authenticator) fresh(ctx context.Context) error {
	if a.db.Clock().Millis()-a.watch.readAt.Load() <= staleAfter.Milliseconds() {
		return nil
	}
	if err := a.refresh(ctx); err != nil {
		return fault.Away(err, "the access check")
	}
	return nil
}

// refresh reads access_changes once for all who ask at the same time.
func (a *Authenticator) refresh(ctx context.Context) error {
	_, err, _ := a.watch.flight.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readEvery)
		defer cancel()
		return nil, a.read(ctx)
	})
	return err
}

func (a *Authenticator) read(ctx context.Context) error {
	w := &a.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	now, last := a.db.Clock().Millis(), w.readAt.Load()
	if now-last > gap.Milliseconds() {
		last = now
	}
	rows, err := readChanges(ctx, a.db.Reader(), min(now, last)-overlap.Milliseconds())
	if err != nil {
		return err
	}
	if now-w.readAt.Load() > gap.Milliseconds() {
		a.forget(changeAll, "") // at the first reading there is nothing to forget
	}
	seen := make(map[string]int64, len(rows))
	for _, c := range rows {
		if _, old := w.seen[c.id]; !old {
			a.forget(c.kind, c.subjectID)
		}
		seen[c.id] = c.at
	}
	w.seen = seen
	w.readAt.Store(now)
	return nil
}

// Run keeps the cache true until ctx ends: it reads access_changes every second and whenever a notice comes, writes last_used_at,
// and sweeps old rows. It returns nil when ctx ends.
func (a *Authenticator) Run(ctx context.Context) error {
	notice, cancel := a.hub.Subscribe(events.Access, "")
	defer cancel()
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for {
		if err := a.refresh(ctx); err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "access changes can't be read", "error", err)
		}
		select {
		case <-ctx.Done():
			a.writeUsed(context.WithoutCancel(ctx))
			return nil
		case <-notice:
		case <-tick.C:
			a.writeUsed(ctx)
			a.sweep(ctx)
		}
	}
}

// writeUsed writes when keys were last used. What fails is lost: it is a hint, and comes again within a minute.
func (a *Authenticator) writeUsed(ctx context.Context) {
	uses := map[keyUse]int64{}
	a.used.Range(func(k, _ any) bool {
		if v, ok := a.used.LoadAndDelete(k); ok {
			uses[k.(keyUse)] = v.(int64)
		}
		return true
	})
	if len(uses) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := a.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		for u, at := range uses {
			if err := updateUsed(ctx, tx, u, at); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		a.log.WarnContext(ctx, "last use of keys can't be written", "keys", len(uses), "error", err)
	}
}

func (a *Authenticator) sweep(ctx context.Context) {
	now := a.db.Clock().Millis()
	if now-a.watch.swept < sweepEvery.Milliseconds() {
		return
	}
	a.watch.swept = now
	err := a.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		return deleteChanges(ctx, tx, now-keepRows.Milliseconds())
	})
	if err != nil && ctx.Err() == nil {
		a.log.WarnContext(ctx, "old access changes can't be swept", "error", err)
	}
}
