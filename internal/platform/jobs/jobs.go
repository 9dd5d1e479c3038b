// Package jobs runs what must happen after a transaction: a job is a row that commits with the change that asks for it, and some
// replica does it afterwards.
//
// A job runs at least once: a handler must bear to run again after a crash. It is tried with growing pauses until it succeeds or its
// policy's attempts are used up; then it is dropped with a line in the log, so a handler that has somebody to tell does so on its
// last try.
package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/id"
)

// Insert asks for a job. A second insert with the Key of a job of its kind that isn't done changes nothing; an empty Key is no key.
// The zero At is now.
type Insert struct {
	Kind string
	Key  string
	Args any // marshalled as JSON; never holds a secret in the clear
	At   time.Time
}

// InsertTx writes a job in the caller's transaction.
func InsertTx(ctx context.Context, tx *db.Tx, now time.Time, in Insert) error {
	args, err := json.Marshal(in.Args)
	if err != nil {
		return fmt.Errorf("arguments of job %s: %w", in.Kind, err)
	}
	at := in.At
	if at.IsZero() {
		at = now
	}
	_, err = db.Exec(ctx, tx, `INSERT INTO jobs (job_id, kind, unique_key, args, attempt, run_at, created_at)
		VALUES ($1, $2, $3, $4, 0, $5, $6) ON CONFLICT DO NOTHING`,
		id.New(id.Job), in.Kind, db.Null(in.Key), string(args), at.UnixMilli(), now.UnixMilli())
	return err
}

// Job is one try at a job.
type Job struct {
	ID      string
	Kind    string
	Attempt int // 1 is the first
	args    string
	most    int
}

// Decode reads the arguments.
func (j Job) Decode(v any) error { return json.Unmarshal([]byte(j.args), v) }

// Last reports whether there is no further try.
func (j Job) Last() bool { return j.Attempt >= j.most }

// Policy bounds the tries of one kind.
type Policy struct {
	// Timeout ends one try; a minute when zero.
	Timeout time.Duration
	// Attempts is how often at most a job is tried; 5 when zero.
	Attempts int
}

// Handler does a job. An error has it tried again later.
type Handler func(ctx context.Context, j Job) error

type kind struct {
	Policy
	do Handler
}

// Runner does jobs of the kinds it was given a handler for.
type Runner struct {
	db    *db.DB
	log   *slog.Logger
	kinds map[string]kind
	names []string
	lease time.Duration
}

// New makes a runner without kinds.
func New(d *db.DB, log *slog.Logger) *Runner {
	return &Runner{db: d, log: log, kinds: map[string]kind{}}
}

// Handle names who does a kind of job. All of them are named before Run.
func (r *Runner) Handle(name string, p Policy, do Handler) {
	if p.Timeout == 0 {
		p.Timeout = time.Minute
	}
	if p.Attempts == 0 {
		p.Attempts = 5
	}
	r.kinds[name] = kind{Policy: p, do: do}
	r.names = append(r.names, name)
	slices.Sort(r.names)
	r.lease = max(r.lease, p.Timeout+leaseMargin)
}

const (
	// leaseMargin is how much longer than its timeout a try is left alone before another replica takes it over.
	leaseMargin = 30 * time.Second
	lookEvery   = time.Second
	// together is how many jobs a replica works on at once.
	together   = 4
	firstPause = 5 * time.Second
	mostPause  = time.Hour
)

// Run does jobs until ctx ends; those at work then end with it and are due again at once.
func (r *Runner) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for range together {
		wg.Go(func() {
			for clock.Sleep(ctx, lookEvery) {
				r.drain(ctx)
			}
		})
	}
}

func (r *Runner) drain(ctx context.Context) {
	for ctx.Err() == nil {
		did, err := r.Step(ctx)
		if err != nil && ctx.Err() == nil {
			r.log.ErrorContext(ctx, "the table of jobs can't be read", slog.Any("error", err))
		}
		if err != nil || !did {
			return
		}
	}
}

// Step does one job that is due, if there is one. A handler's error is not Step's: it is logged and the job tried again.
func (r *Runner) Step(ctx context.Context) (did bool, err error) {
	if len(r.names) == 0 {
		return false, nil
	}
	j, err := r.take(ctx)
	if errors.Is(err, db.ErrNone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	k := r.kinds[j.Kind]
	j.most = k.Attempts
	failed := r.try(ctx, k, j)
	if failed == nil {
		return true, r.settle(ctx, `DELETE FROM jobs WHERE job_id = $1 AND attempt = $2`, j.ID, j.Attempt)
	}
	if ctx.Err() != nil { // this process stops; that is not the job's failure
		return true, r.settle(ctx, `UPDATE jobs SET run_at = $1, attempt = attempt - 1 WHERE job_id = $2 AND attempt = $3`,
			r.db.Clock().Millis(), j.ID, j.Attempt)
	}
	r.log.WarnContext(ctx, "a job failed", slog.String("kind", j.Kind), slog.String("job_id", j.ID), slog.Int("attempt", j.Attempt),
		slog.Bool("last", j.Last()), slog.Any("error", failed))
	if j.Last() {
		return true, r.settle(ctx, `DELETE FROM jobs WHERE job_id = $1 AND attempt = $2`, j.ID, j.Attempt)
	}
	due := r.db.Clock().Now().Add(pause(j.Attempt))
	return true, r.settle(ctx, `UPDATE jobs SET run_at = $1 WHERE job_id = $2 AND attempt = $3`, due.UnixMilli(), j.ID, j.Attempt)
}

// pause grows by four with each try.
func pause(attempt int) time.Duration {
	p := firstPause
	for range attempt - 1 {
		if p *= 4; p >= mostPause {
			return mostPause
		}
	}
	return p
}

// take finds the job that is due for longest. An idle runner only reads.
func (r *Runner) take(ctx context.Context) (Job, error) {
	var w db.Where
	w.Add("run_at <= ?", r.db.Clock().Millis())
	w.In("kind", r.names)
	if _, err := db.One(ctx, r.db.Reader(), db.Text, `SELECT job_id FROM jobs`+w.SQL()+` ORDER BY run_at, job_id LIMIT 1`,
		w.Args()...); err != nil {
		return Job{}, err
	}
	var j Job
	err := r.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		now := r.db.Clock().Now()
		var w db.Where
		until := w.Number("?", now.Add(r.lease).UnixMilli())
		w.Add("run_at <= ?", now.UnixMilli())
		w.In("kind", r.names)
		skip := ""
		if tx.Engine() == db.Postgres {
			skip = " FOR UPDATE SKIP LOCKED"
		}
		j, err = db.One(ctx, tx, scan, `UPDATE jobs SET attempt = attempt + 1, run_at = `+strings.TrimSpace(until)+` WHERE job_id =
			(SELECT job_id FROM jobs`+w.SQL()+` ORDER BY run_at, job_id LIMIT 1`+skip+`) RETURNING job_id, kind, args, attempt`, w.Args()...)
		return err
	})
	return j, err
}

func scan(s db.Scanner) (Job, error) {
	var j Job
	err := s.Scan(&j.ID, &j.Kind, &j.args, &j.Attempt)
	return j, err
}

// settle writes how a try ended, unless another replica has taken the job over meanwhile.
func (r *Runner) settle(ctx context.Context, query string, args ...any) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return r.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, query, args...)
		return err
	})
}

func (r *Runner) try(ctx context.Context, k kind, j Job) (err error) {
	ctx, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return k.do(ctx, j)
}

// Waiting counts the jobs that aren't done.
func (r *Runner) Waiting(ctx context.Context) (int64, error) {
	return db.One(ctx, r.db.Reader(), db.Int, `SELECT COUNT(*) FROM jobs`)
}
