package v2

import (
	"context"
	"net/http"
	"time"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/fleet"
	"gantry/internal/kit"
	"gantry/internal/platform/page"
)

func init() { registrations = append(registrations, registerHypervisors) }

// HypervisorStatus is a machine that runs sessions.
type HypervisorStatus struct {
	HypervisorID       string `json:"hypervisor_id"`
	Status             string `json:"status"`
	SecondsSinceReport *int64 `json:"seconds_since_report"`
}

type hypervisorsOutput struct{ Body []HypervisorStatus }

func registerHypervisors(a *kit.API, rooms Rooms) {
	kit.Register(a, op("hypervisorsHealth", http.MethodGet, prefix+"/hypervisors/health", "Read the state of the machines that run sessions",
		"hypervisors", "GET /v3/enterprise/hypervisors"),
		func(ctx context.Context, who access.Subject, _ *struct{}) (*hypervisorsOutput, error) {
			all, err := older.All(func(r page.Request) (page.Page[fleet.Hypervisor], error) {
				return rooms.Fleet.Hypervisors(ctx, who, "all", r)
			})
			if err != nil {
				return nil, err
			}
			out := &hypervisorsOutput{Body: make([]HypervisorStatus, len(all))}
			for i, h := range all {
				ago := int64(rooms.Fleet.Clock.Since(h.LastHeartbeat) / time.Second)
				out.Body[i] = HypervisorStatus{HypervisorID: h.ID, Status: h.Status, SecondsSinceReport: &ago}
			}
			return out, nil
		})
}
