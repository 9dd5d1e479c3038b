package insight

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/jobs"
	"gantry/internal/platform/page"
	"gantry/internal/session"
)

// Job is the kind of job that makes an analysis.
const Job = "insights"

// jobArgs name what a job is to analyse.
type jobArgs struct {
	SessionID  string `json:"session_id"`
	Generation int64  `json:"generation"`
}

const (
	jobTime     = 3 * time.Minute
	jobAttempts = 3
	// staleAfter is when an analysis that runs is taken for lost: its job is gone by then.
	staleAfter = 30 * time.Minute
)

// Options of New. Model is nil without one.
type Options struct {
	DB       *db.DB
	Clock    clock.Clock
	Sessions *session.Service
	Jobs     *jobs.Runner
	Model    *Model
	Logger   *slog.Logger
}

// Service holds the use cases of insights.
type Service struct{ Options }

// New makes the service and takes its jobs on.
func New(o Options) *Service {
	v := &Service{o}
	o.Jobs.Handle(Job, jobs.Policy{Timeout: jobTime, Attempts: jobAttempts}, v.work)
	return v
}

// Get gives a session with its analysis. It needs ViewOrgSessions, on the enterprise's routes (orgID empty) ViewAccountSessions.
func (v *Service) Get(ctx context.Context, who access.Subject, orgID, sessionID string) (Insights, error) {
	s, err := v.Sessions.Get(ctx, who, orgID, sessionID)
	if err != nil {
		return Insights{}, err
	}
	found, err := v.with(ctx, []*session.Session{s})
	if err != nil {
		return Insights{}, err
	}
	return found[0], nil
}

// List gives a page of sessions with their analyses. Filters, order and permissions are those of the list of sessions.
func (v *Service) List(ctx context.Context, who access.Subject, f session.Filter, r page.Request) (page.Page[Insights], error) {
	p, err := v.Sessions.List(ctx, who, f, r)
	if err != nil {
		return page.Page[Insights]{}, err
	}
	items, err := v.with(ctx, p.Items)
	return page.Page[Insights]{Items: items, End: p.End, More: p.More, Total: p.Total}, err
}

// with adds to sessions what is known of their analyses.
func (v *Service) with(ctx context.Context, sessions []*session.Session) ([]Insights, error) {
	out := make([]Insights, len(sessions))
	ids := make([]string, len(sessions))
	for i, s := range sessions {
		ids[i] = s.ID
	}
	rows, err := records(ctx, v.DB.Reader(), ids)
	if err != nil {
		return nil, err
	}
	now := v.Clock.Now()
	for i, s := range sessions {
		out[i] = Insights{Session: s, State: None}
		if r, ok := rows[s.ID]; ok {
			out[i].State, out[i].Analysis = r.at(now), r.analysis
		}
	}
	return out, nil
}

// Generate starts an analysis in the background. started is false when there is one already, or one is being made. A session whose
// conversation went on since its analysis is analysed anew, and so is one whose analysis failed. It needs ManageOrgSessions, on the
// enterprise's routes ManageAccountSessions; 409 when the agent hasn't said anything yet.
func (v *Service) Generate(ctx context.Context, who access.Subject, orgID, sessionID string) (started bool, err error) {
	if err := mayStart(who, orgID); err != nil {
		return false, err
	}
	s, err := v.Sessions.Find(ctx, orgID, sessionID)
	if err != nil {
		return false, err
	}
	if s.DevinMessages == 0 {
		return false, fault.New(fault.Conflict, "the session has no message of the agent yet: there is nothing to analyse")
	}
	err = v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := v.Clock.Now()
		r, err := lockTx(ctx, tx, s)
		if err != nil {
			return err
		}
		messages := s.UserMessages + s.DevinMessages
		switch r.at(now) {
		case Running:
			return nil
		case Done:
			if r.messages == messages {
				return nil
			}
		case None, Failed:
		}
		started = true
		generation := r.generation + 1
		if err := startTx(ctx, tx, s.ID, generation, messages, now); err != nil {
			return err
		}
		// No key: the job of an earlier generation, should it still be there, writes nothing.
		err = jobs.InsertTx(ctx, tx, now, jobs.Insert{Kind: Job, Args: jobArgs{SessionID: s.ID, Generation: generation}})
		if err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, who, now.UnixMilli(), audit.Entry{
			Action: audit.GenerateInsights, OrgID: s.OrgID, Data: map[string]any{"session_id": s.ID},
		})
	})
	return started && err == nil, err
}

func mayStart(who access.Subject, orgID string) error {
	if orgID == "" {
		return access.Require(who, access.ManageAccountSessions, "")
	}
	return access.Require(who, access.ManageOrgSessions, orgID)
}

// work makes the analysis that a job asks for.
func (v *Service) work(ctx context.Context, j jobs.Job) error {
	var args jobArgs
	if err := j.Decode(&args); err != nil {
		return err
	}
	a, err := v.analyse(ctx, args.SessionID, j.Last())
	if err != nil {
		if !j.Last() {
			return err
		}
		v.Logger.ErrorContext(ctx, "an analysis failed", slog.String("session_id", args.SessionID), slog.Any("error", err))
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return v.finish(ctx, args, Failed, nil)
	}
	return v.finish(ctx, args, Done, a)
}

func (v *Service) finish(ctx context.Context, args jobArgs, state State, a *Analysis) error {
	return v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		return finishTx(ctx, tx, args.SessionID, args.Generation, state, a, v.Clock.Now())
	})
}

// analyse asks the model, if there is one, and goes by rules otherwise. A model that is away for now is asked again by the job's next
// try, unless this is the last.
func (v *Service) analyse(ctx context.Context, sessionID string, last bool) (*Analysis, error) {
	t, err := v.gather(ctx, sessionID)
	if err != nil {
		return nil, err
	}
	a := byRules(t)
	if v.Model == nil {
		return a, nil
	}
	made, err := v.Model.analyse(ctx, t)
	if err == nil {
		return made, nil
	}
	if ctx.Err() != nil || (errors.Is(err, errAway) && !last) {
		return nil, err
	}
	v.Logger.WarnContext(ctx, "the model made no analysis; rules did", slog.String("session_id", sessionID), slog.Any("error", err))
	a.Fallback = short("the model made none: " + reasonOf(err))
	return a, nil
}
