package fleet

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/wire"
)

// Hypervisor is a machine that runs sessions: one of our workers (contract/behaviour.md §10.2).
type Hypervisor struct {
	ID            string
	Name          string
	OutpostID     string
	Version       string
	Platform      string
	Capacity      int64
	InUse         int64
	CreatedAt     time.Time
	LastHeartbeat time.Time
	Status        string
}

// Statuses of a hypervisor.
const (
	Available    = "available"
	Disconnected = "disconnected"
	Terminated   = "terminated" // it left while draining or asked to, or was silent for a day
	Draining     = "draining"
	Restarting   = "restarting" // nobody reports it, but it may be asked for
	AllStatuses  = "all"
)

const (
	// silence is how long a machine may say nothing before it counts as disconnected: three reports.
	silence = 3 * wire.ReportSeconds * time.Second
	// farewell is how long a disconnected machine is expected back; one that was draining isn't expected at all.
	farewell = 24 * time.Hour
)

// Utilization is how much of the machine is in use, in percent.
func (h Hypervisor) Utilization() float64 {
	if h.Capacity <= 0 {
		return 0
	}
	return min(100, 100*float64(h.InUse)/float64(h.Capacity))
}

const hypervisorColumns = `hypervisor_id, name, outpost_id, version, platform, capacity, in_use, created_at, last_heartbeat, drain,
	draining`

func (v *Service) scanHypervisor(r db.Scanner) (Hypervisor, error) {
	var h Hypervisor
	var created, beat int64
	var drain, draining bool
	err := r.Scan(&h.ID, &h.Name, &h.OutpostID, &h.Version, &h.Platform, &h.Capacity, &h.InUse, &created, &beat, &drain, &draining)
	h.CreatedAt, h.LastHeartbeat, h.Status = db.Time(created), db.Time(beat), Available
	switch silent := v.Clock.Since(h.LastHeartbeat); {
	case silent > farewell, silent > silence && (drain || draining):
		h.Status = Terminated
	case silent > silence:
		h.Status = Disconnected
	case drain || draining:
		h.Status = Draining
	}
	return h, err
}

// Hypervisors lists the machines of a status, available by default. It needs ViewEnterpriseInfraDetails.
func (v *Service) Hypervisors(ctx context.Context, who access.Subject, status string, r page.Request) (page.Page[Hypervisor], error) {
	var none page.Page[Hypervisor]
	if err := access.Require(who, access.ViewEnterpriseInfraDetails, ""); err != nil {
		return none, err
	}
	now := v.Clock.Now()
	fresh, expected := now.Add(-silence).UnixMilli(), now.Add(-farewell).UnixMilli()
	var w db.Where
	switch status {
	case "", Available:
		w.Add("last_heartbeat >= ? AND drain = 0 AND draining = 0", fresh)
	case Draining:
		w.Add("last_heartbeat >= ? AND drain + draining > 0", fresh)
	case Disconnected:
		w.Add("last_heartbeat < ? AND last_heartbeat >= ? AND drain + draining = 0", fresh, expected)
	case Terminated:
		w.Add("(last_heartbeat < ? OR (last_heartbeat < ? AND drain + draining > 0))", expected, fresh)
	case Restarting:
		w.Add("1 = 0")
	case AllStatuses:
	default:
		return none, fault.InvalidQuery("status", "must be one of %s",
			strings.Join([]string{Available, Restarting, Disconnected, Terminated, Draining, AllStatuses}, ", "))
	}
	if r.After != nil {
		w.Add("(created_at, hypervisor_id) > (?, ?)", r.After[0], r.After[1])
	}
	query := `SELECT ` + hypervisorColumns + ` FROM hypervisors` + w.SQL() + ` ORDER BY created_at, hypervisor_id ` + w.Number("LIMIT ?", r.Limit())
	rows, err := db.All(ctx, v.DB.Reader(), v.scanHypervisor, query, w.Args()...)
	if err != nil {
		return none, err
	}
	return page.Cut(rows, r, func(h Hypervisor) page.Position { return page.Position{h.CreatedAt.UnixMilli(), h.ID} }), nil
}

// Drain asks a machine, named by its id or name, to take nothing new. It needs ManageOutpostsOrchestrator.
func (v *Service) Drain(ctx context.Context, who access.Subject, name string) (Hypervisor, error) {
	if err := access.Require(who, access.ManageOutpostsOrchestrator, ""); err != nil {
		return Hypervisor{}, err
	}
	var h Hypervisor
	now := v.Clock.Now()
	err := v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		var err error
		h, err = db.One(ctx, tx, v.scanHypervisor, `UPDATE hypervisors SET drain = 1 WHERE hypervisor_id = (
				SELECT hypervisor_id FROM hypervisors WHERE (hypervisor_id = $1 OR name = $1) AND last_heartbeat >= $2
				ORDER BY last_heartbeat DESC LIMIT 1)
			RETURNING `+hypervisorColumns, name, now.Add(-farewell).UnixMilli())
		if err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, who, now.UnixMilli(), audit.Entry{
			Action: audit.DrainHypervisor, Data: map[string]any{"hypervisor_id": h.ID, "name": h.Name},
		})
	})
	if errors.Is(err, db.ErrNone) {
		return h, fault.New(fault.NotFound, "no such worker")
	}
	return h, err
}

// maxWorkspaces is how many kept workspaces one report may name; the rest are asked about in the next.
const maxWorkspaces = 1000

// Report takes a worker's report: it is alive, this is its load, these workspaces it keeps. fresh says that the worker is a new
// process, so whatever an earlier one of its id held is lost.
func (v *Service) Report(ctx context.Context, who access.Subject, outpostID string, r wire.WorkerReport) (reply wire.WorkerReply, fresh bool, err error) {
	if err := RequireOutpost(who, outpostID); err != nil {
		return reply, false, err
	}
	if err := validReport(r); err != nil {
		return reply, false, err
	}
	now := v.Clock.Millis()
	err = v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		instance, outpost, err := machineTx(ctx, tx, r.WorkerID)
		if err != nil {
			return err
		}
		if outpost != "" && RequireOutpost(who, outpost) != nil {
			return fault.New(fault.Conflict, "worker_id: a worker of another outpost has it")
		}
		fresh = instance != r.Instance
		drain, err := db.One(ctx, tx, db.Int, `INSERT INTO hypervisors (hypervisor_id, name, outpost_id, version, platform, capacity,
				in_use, created_at, last_heartbeat, drain, draining, instance)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, 0, $9, $10)
			ON CONFLICT (hypervisor_id) DO UPDATE SET name = excluded.name, outpost_id = excluded.outpost_id,
				version = excluded.version, platform = excluded.platform, capacity = excluded.capacity, in_use = excluded.in_use,
				last_heartbeat = excluded.last_heartbeat, draining = excluded.draining, instance = excluded.instance,
				drain = CASE WHEN hypervisors.instance = excluded.instance THEN hypervisors.drain ELSE 0 END
			RETURNING drain`,
			r.WorkerID, r.Name, outpostID, r.Version, r.Platform, r.Capacity, r.InUse, now, db.Bool(r.Draining), r.Instance)
		reply.Drain = drain != 0
		return err
	})
	if err != nil {
		return reply, false, err
	}
	reply.Discard, err = v.discardable(ctx, r.Sessions)
	return reply, fresh, err
}

// machineTx gives the process and the outpost that a machine reported last, "" for one that never did.
func machineTx(ctx context.Context, tx *db.Tx, workerID string) (instance, outpost string, err error) {
	_, err = db.One(ctx, tx, func(s db.Scanner) (struct{}, error) {
		return struct{}{}, s.Scan(&instance, &outpost)
	}, `SELECT instance, outpost_id FROM hypervisors WHERE hypervisor_id = $1`, workerID)
	if errors.Is(err, db.ErrNone) {
		return "", "", nil
	}
	return instance, outpost, err
}

// maxSlots is how many sessions one machine may say to run.
const maxSlots = 100_000

func validReport(r wire.WorkerReport) error {
	for _, f := range []struct {
		name, text string
		needed     bool
	}{
		{"worker_id", r.WorkerID, true},
		{"name", r.Name, true},
		{"instance", r.Instance, true},
		{"version", r.Version, false},
		{"platform", r.Platform, false},
	} {
		if (f.needed && f.text == "") || len(f.text) > 200 || !db.Storable(f.text) {
			return fault.InvalidField(f.name, "must be text of at most 200 bytes")
		}
	}
	if r.Capacity < 0 || r.Capacity > maxSlots {
		return fault.InvalidField("capacity", "must be 0 to %d", maxSlots)
	}
	if r.InUse < 0 || r.InUse > maxSlots {
		return fault.InvalidField("in_use", "must be 0 to %d", maxSlots)
	}
	return nil
}

// discardable gives those of a worker's kept workspaces that can never be used again: their session is over or unknown.
func (v *Service) discardable(ctx context.Context, sessions []string) ([]string, error) {
	sessions = sessions[:min(len(sessions), maxWorkspaces)]
	if len(sessions) == 0 {
		return nil, nil
	}
	var w db.Where
	w.In("session_id", sessions)
	w.Add("phase <> 'ended'")
	alive, err := db.All(ctx, v.DB.Reader(), db.Text, `SELECT session_id FROM queue`+w.SQL(), w.Args()...)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range sessions {
		if !slices.Contains(alive, s) {
			out = append(out, s)
		}
	}
	return out, nil
}
