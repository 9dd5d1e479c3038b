package v3

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/kit"
)

func init() { registrations = append(registrations, registerFleet) }

// QueueStatusResponse is the queue's length: sessions that are new, claimed or resuming (contract/behaviour.md §10.1).
type QueueStatusResponse struct {
	QueueSize int64  `json:"queue_size"`
	Status    string `json:"status" enum:"normal,elevated,high"`
}

// HypervisorResponse is a machine that runs sessions (contract/behaviour.md §10.2).
type HypervisorResponse struct {
	HypervisorID            string  `json:"hypervisor_id"`
	CloudProviderInstanceID string  `json:"cloud_provider_instance_id" doc:"The worker's own name."`
	CreatedAt               int64   `json:"created_at"`
	LastHeartbeat           int64   `json:"last_heartbeat"`
	Status                  string  `json:"status" enum:"available,restarting,disconnected,terminated,draining"`
	UtilizationPercentage   float64 `json:"utilization_percentage"`
}

type queueOutput struct{ Body QueueStatusResponse }

type hypervisorsOutput struct{ Body kit.Page[HypervisorResponse] }

func registerFleet(a *kit.API, rooms Rooms) {
	kit.Register(a, kit.Op{
		Operation: huma.Operation{
			OperationID: "getQueue", Method: http.MethodGet, Path: "/v3/enterprise/queue", Summary: "Read the queue's state", Tags: []string{"queue"},
		},
		Any: []access.Permission{access.ViewAccountMetrics}, Enterprise: true,
	}, func(ctx context.Context, s access.Subject, _ *struct{}) (*queueOutput, error) {
		q, err := rooms.Fleet.Queue(ctx, s)
		if err != nil {
			return nil, err
		}
		return &queueOutput{Body: QueueStatusResponse{QueueSize: q.Size, Status: q.Status}}, nil
	})
	kit.Register(a, kit.Op{
		Operation: huma.Operation{
			OperationID: "listHypervisors", Method: http.MethodGet, Path: "/v3/enterprise/hypervisors", Summary: "List the machines that run sessions",
			Tags: []string{"hypervisors"},
		},
		Any: []access.Permission{access.ViewEnterpriseInfraDetails}, Enterprise: true,
	}, func(ctx context.Context, s access.Subject, in *struct {
		kit.PageInput
		Status string `query:"status" enum:"available,restarting,disconnected,terminated,draining,all" default:"available"`
	},
	) (*hypervisorsOutput, error) {
		r, err := kit.OpenPage(ctx, in.PageInput)
		if err != nil {
			return nil, err
		}
		p, err := rooms.Fleet.Hypervisors(ctx, s, in.Status, r)
		if err != nil {
			return nil, err
		}
		return &hypervisorsOutput{Body: kit.ClosePage(ctx, p, wireHypervisor)}, nil
	})
}

func wireHypervisor(h fleet.Hypervisor) HypervisorResponse {
	return HypervisorResponse{
		HypervisorID: h.ID, CloudProviderInstanceID: h.Name, CreatedAt: h.CreatedAt.Unix(), LastHeartbeat: h.LastHeartbeat.Unix(),
		Status: h.Status, UtilizationPercentage: h.Utilization(),
	}
}
