package gantry

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/api/gateway"
	"gantry/internal/fleet"
	"gantry/internal/kit"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/fault"
	"gantry/internal/wire"
)

func init() { registrations = append(registrations, registerWorkers) }

type OutpostPath struct {
	OutpostID string `path:"outpost_id" maxLength:"64"`
}

type claimOutput struct {
	Status int
	Body   *wire.Claim
}

type reportOutput struct{ Body wire.WorkerReply }

// HypervisorDrained answers a drain.
type HypervisorDrained struct {
	HypervisorID string `json:"hypervisor_id"`
	Name         string `json:"name"`
	Status       string `json:"status"`
}

type drainOutput struct{ Body HypervisorDrained }

func registerWorkers(a *kit.API, rooms Rooms) {
	d := workerDoor{rooms}
	kit.Register(a, kit.Op{
		Operation: huma.Operation{
			OperationID: "claimNext", Method: http.MethodPost, Path: "/gantry/v1/outposts/{outpost_id}/claim-next", Tags: []string{"workers"},
			Summary: "Claim the next session of an outpost", Description: "Holds the request up to wait_seconds; 204 when nothing was queued.",
			DefaultStatus: http.StatusOK,
			Responses:     map[string]*huma.Response{"204": {Description: "Nothing was queued within the wait."}},
		},
		Worker: true, Stream: true,
	}, d.claimNext)
	kit.Register(a, kit.Op{
		Operation: huma.Operation{
			OperationID: "reportWorker", Method: http.MethodPost, Path: "/gantry/v1/outposts/{outpost_id}/workers", Tags: []string{"workers"},
			Summary: "Report that a worker is alive", DefaultStatus: http.StatusOK,
		},
		Worker: true,
	}, d.report)
	kit.Register(a, kit.Op{
		Operation: huma.Operation{
			OperationID: "drainHypervisor", Method: http.MethodPost, Path: "/gantry/v1/hypervisors/{hypervisor_id}/drain", Tags: []string{"workers"},
			Summary: "Ask a worker, by its id or name, to take nothing new", DefaultStatus: http.StatusOK,
		},
		Any: []access.Permission{access.ManageOutpostsOrchestrator}, Enterprise: true,
	}, func(ctx context.Context, s access.Subject, in *struct {
		HypervisorID string `path:"hypervisor_id" maxLength:"200"`
	},
	) (*drainOutput, error) {
		h, err := rooms.Fleet.Drain(ctx, s, in.HypervisorID)
		if err != nil {
			return nil, err
		}
		return &drainOutput{Body: HypervisorDrained{HypervisorID: h.ID, Name: h.Name, Status: h.Status}}, nil
	})
}

type workerDoor struct{ rooms Rooms }

// maxWait is how long a claim may wait on the server.
const maxWait = 30 * time.Second

// lookEvery is how often a waiting claim looks that nobody wakes: a session that waits for its own machine gets free without a notice.
const lookEvery = time.Second

func (d workerDoor) claimNext(ctx context.Context, s access.Subject, in *struct {
	OutpostPath
	Body wire.ClaimNext
},
) (*claimOutput, error) {
	if in.Body.WorkerID == "" || len(in.Body.WorkerID) > 200 {
		return nil, fault.InvalidField("worker_id", "must have 1 to 200 characters")
	}
	if err := fleet.RequireOutpost(s, in.OutpostID); err != nil {
		return nil, err
	}
	wait := min(maxWait, max(0, time.Duration(in.Body.WaitSeconds)*time.Second))
	var live clock.Clock // real waiting: it is a network's
	until := live.Now().Add(wait)
	wake, stop := d.rooms.Fleet.Wake(in.OutpostID)
	defer stop()
	for {
		c, ok, err := d.rooms.Sessions.ClaimNext(ctx, s, in.OutpostID, in.Body.WorkerID)
		if err != nil {
			return nil, err
		}
		if ok {
			return &claimOutput{Status: http.StatusOK, Body: d.wire(c)}, nil
		}
		left := until.Sub(live.Now())
		if left <= 0 || !kit.Pause(ctx, wake, min(left, lookEvery)) {
			return &claimOutput{Status: http.StatusNoContent}, nil
		}
	}
}

func (d workerDoor) wire(c fleet.Claim) *wire.Claim {
	return &wire.Claim{
		SessionID: c.SessionID, OrgID: c.OrgID, OutpostID: c.OutpostID, Kind: c.Kind, Fence: c.Fence, ConnectToken: c.Token,
		GatewayURL: gateway.Address(d.rooms.PublicURL, c.SessionID),
	}
}

func (d workerDoor) report(ctx context.Context, s access.Subject, in *struct {
	OutpostPath
	Body wire.WorkerReport
},
) (*reportOutput, error) {
	reply, fresh, err := d.rooms.Fleet.Report(ctx, s, in.OutpostID, in.Body)
	if err != nil {
		return nil, err
	}
	if fresh {
		err = d.rooms.Sessions.Restarted(ctx, s, in.OutpostID, in.Body.WorkerID)
	} else {
		err = d.rooms.Sessions.Unheard(ctx, s, in.OutpostID, in.Body.WorkerID, in.Body.Working)
	}
	if err != nil {
		return nil, err
	}
	return &reportOutput{Body: reply}, nil
}
