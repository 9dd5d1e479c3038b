package v1

import (
	"context"
	"net/http"
	"time"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/kit"
	"gantry/internal/usage"
)

func init() { registrations = append(registrations, registerConsumption) }

// ConsumptionResponse is what the enterprise used. No shape of it was ever published; this one is v2's, with the time asked for.
type ConsumptionResponse struct {
	TotalACUs          float64            `json:"total_acus"`
	PeriodStart        string             `json:"period_start"`
	PeriodEnd          string             `json:"period_end"`
	ConsumptionByDate  map[string]float64 `json:"consumption_by_date" doc:"YYYY-MM-DD to ACUs."`
	ConsumptionByOrgID map[string]float64 `json:"consumption_by_org_id"`
}

type consumptionInput struct {
	StartDate string `query:"start_date" required:"true" maxLength:"64" doc:"From this date or time on."`
	EndDate   string `query:"end_date" required:"true" maxLength:"64" doc:"Before this date or time."`
}

type consumptionOutput struct{ Body ConsumptionResponse }

func registerConsumption(a *kit.API, rooms Rooms) {
	read := op("getConsumption", http.MethodGet, "/enterprise/consumption", "Read the enterprise's consumption", "GET /v3/enterprise/consumption/daily",
		access.ManageBilling, access.ViewAccountConsumption)
	read.Org, read.Enterprise = kit.OrgAuto, true
	kit.Register(a, read, func(ctx context.Context, who access.Subject, in *consumptionInput) (*consumptionOutput, error) {
		var p usage.SpreadParams
		var err error
		if p.After, err = older.Instant("start_date", in.StartDate); err != nil {
			return nil, err
		}
		if p.Before, err = older.Instant("end_date", in.EndDate); err != nil {
			return nil, err
		}
		s, err := rooms.Usage.Spread(ctx, who, p)
		if err != nil {
			return nil, err
		}
		return &consumptionOutput{Body: ConsumptionResponse{
			TotalACUs: older.ACUs(s.Total), PeriodStart: older.Time(p.After), PeriodEnd: older.Time(p.Before),
			ConsumptionByDate:  older.ACUsBy(s.ByDay, func(t time.Time) string { return t.UTC().Format(time.DateOnly) }),
			ConsumptionByOrgID: older.ACUsBy(s.ByOrg, func(id string) string { return id }),
		}}, nil
	})
}
