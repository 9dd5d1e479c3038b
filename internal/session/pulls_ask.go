package session

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"gantry/internal/forge"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/wire"
)

// pull is a row of session_pulls.
type pull struct {
	sessionID, url string
	pushed         []string
	branch         string
	asked          bool // the provider said which branch
	counted        bool
	since, next    time.Time
}

const pullColumns = `session_id, url, pushed, branch, counted, since, next_at`

func scanPull(r db.Scanner) (pull, error) {
	var p pull
	var pushed string
	var branch sql.NullString
	if err := r.Scan(&p.sessionID, &p.url, &pushed, &branch, &p.counted, db.OrZero(&p.since), db.OrZero(&p.next)); err != nil {
		return p, err
	}
	p.branch, p.asked = branch.String, branch.Valid
	return p, list(pushed, &p.pushed)
}

const (
	// askEvery is how often pull requests that are due are looked for.
	askEvery = 2 * time.Second
	// askBatch is how many are asked about at once.
	askBatch = 8
	askTime  = 30 * time.Second // for one of them
	// askLease is how long one is left to whoever asks.
	askLease = 2 * time.Minute

	// An open pull request is asked about again after a twelfth of the time since it was seen, within these bounds.
	askSoonest = 2 * time.Minute
	askLatest  = 24 * time.Hour
	// askUntil is when that ends, askUnknown when it ends for one of which the provider doesn't say whose it is.
	askUntil   = 30 * 24 * time.Hour
	askUnknown = 24 * time.Hour
)

// bornEarlier is how much a provider's clock may be behind: a pull request counts as older than the session only beyond that.
const bornEarlier = time.Minute

// AskRun asks providers about pull requests until ctx ends. Every replica runs it; whoever takes one puts it off for the others.
func (v *Service) AskRun(ctx context.Context) {
	for clock.Sleep(ctx, askEvery) {
		for {
			n, err := v.AskDue(ctx)
			if err != nil && ctx.Err() == nil {
				v.Logger.ErrorContext(ctx, "not every pull request could be asked about; they are later", slog.Any("error", err))
			}
			if n < askBatch || err != nil {
				break
			}
		}
	}
}

// AskDue asks about some pull requests that are due, and gives how many were.
func (v *Service) AskDue(ctx context.Context) (int, error) {
	due, err := db.All(ctx, v.DB.Reader(), scanPull, dueQuery, v.now().UnixMilli(), askBatch)
	if err != nil {
		return 0, err
	}
	failed := make([]error, len(due))
	var wg sync.WaitGroup
	for i, p := range due {
		wg.Go(func() { failed[i] = v.ask(ctx, p) })
	}
	wg.Wait()
	return len(due), errors.Join(failed...)
}

const dueQuery = `SELECT ` + pullColumns + ` FROM session_pulls WHERE next_at <= $1 ORDER BY next_at, session_id, url LIMIT $2`

// ask asks about one pull request, if nobody else does.
func (v *Service) ask(ctx context.Context, p pull) error {
	if mine, err := v.put(ctx, &p, v.now().Add(askLease)); err != nil || !mine {
		return err
	}
	s, err := find(ctx, v.DB.Reader(), "", p.sessionID)
	if err != nil {
		return err
	}
	alive, err := v.Orgs.Exists(ctx, s.OrgID)
	if err == nil && !alive {
		_, err = v.put(ctx, &p, time.Time{}) // nobody asks for a deleted organization
	}
	if err != nil || !alive {
		return err
	}
	within, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	said, err := v.Forge.AskAbout(within, forge.Pull{OrgID: s.OrgID, SessionID: s.ID, Repos: s.Repos, URL: p.url})
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // this process stops; another asks when the lease is over
	case err != nil:
		v.Logger.InfoContext(ctx, "a provider tells nothing about a pull request", slog.String("session_id", s.ID), slog.Any("error", err))
		return v.answered(ctx, p, nil, fault.As(err).RetryAfter)
	}
	return v.answered(ctx, p, &said, 0)
}

// answered writes what the provider said, nil for nothing; wait is how long it wants to be left alone. What was asked while somebody else
// took the pull request over counts for nothing.
func (v *Service) answered(ctx context.Context, p pull, said *forge.PullRequest, wait time.Duration) error {
	_, err := v.change(ctx, p.sessionID, func(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time) ([]Event, error) {
		q := p // the transaction may run twice
		if said != nil {
			evs = q.learn(s, evs, now, *said)
		}
		q.next = q.askNext(now, said, wait)
		mine, err := q.putTx(ctx, tx, p.next)
		if err != nil || !mine {
			return nil, err
		}
		return evs, nil
	})
	return err
}

// learn brings the session up to date with what its provider says.
func (p *pull) learn(s *Session, evs []Event, now time.Time, said forge.PullRequest) []Event {
	p.branch, p.asked = said.Branch, true
	d := wire.PullRequestData{URL: p.url, State: said.State}
	i := s.pull(p.url)
	switch {
	case p.counted && i >= 0 && s.PullRequests[i].State != said.State:
		s.PullRequests[i].State, d.TakenOver = said.State, s.PullRequests[i].TakenOver
		return s.add(evs, now.UnixMilli(), wire.EventPullRequest, d)
	case !p.counted && i < 0 && said.Branch != "" && slices.Contains(p.pushed, said.Branch):
		d.TakenOver = said.CreatedAt.Before(s.CreatedAt.Add(-bornEarlier))
		evs = s.addPull(evs, now, d)
		p.counted = s.pull(p.url) >= 0
	}
	return evs
}

// askNext is when the pull request is asked about again, zero for never.
func (p pull) askNext(now time.Time, said *forge.PullRequest, wait time.Duration) time.Time {
	age := now.Sub(p.since)
	if said != nil && (!p.counted || said.State != forge.PullOpen) || age >= askUntil || !p.counted && age >= askUnknown {
		return time.Time{}
	}
	return now.Add(max(wait, min(max(age/12, askSoonest), askLatest)))
}

// put is putTx in a transaction of its own, for a pull request that is asked about at another time.
func (v *Service) put(ctx context.Context, p *pull, next time.Time) (mine bool, err error) {
	was := p.next
	p.next = next
	err = v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		mine, err = p.putTx(ctx, tx, was)
		return err
	})
	return mine, err
}

// putTx writes what is known of the pull request and when it is asked about next, unless that was changed meanwhile from what it was.
func (p pull) putTx(ctx context.Context, tx *db.Tx, was time.Time) (bool, error) {
	n, err := db.Exec(ctx, tx, `UPDATE session_pulls SET branch = $1, counted = $2, next_at = $3 WHERE session_id = $4 AND url = $5 AND next_at = $6`,
		sql.NullString{String: p.branch, Valid: p.asked}, db.Bool(p.counted), db.NullMillis(p.next), p.sessionID, p.url, was.UnixMilli())
	return n == 1, err
}
