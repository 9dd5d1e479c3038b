package v2

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/kit"
	"gantry/internal/platform/page"
	"gantry/internal/usage"
)

func init() { registrations = append(registrations, registerConsumption) }

// ConsumptionCycle is a billing cycle under both published names, with what was used in it.
type ConsumptionCycle struct {
	Start     string   `json:"start"`
	End       string   `json:"end"`
	StartDate *string  `json:"start_date,omitempty"`
	EndDate   *string  `json:"end_date,omitempty"`
	ACUsUsed  *float64 `json:"acus_used,omitempty"`
}

// ConsumptionCycles is the quick examples' form: the cycles newest first (contract/behaviour.md §19.7).
type ConsumptionCycles struct {
	Cycles []ConsumptionCycle `json:"cycles"`
}

// cyclesBody is the one or the other form.
type cyclesBody struct{ any }

// Schema is either form.
func (cyclesBody) Schema(r huma.Registry) *huma.Schema {
	object := r.Schema(reflect.TypeFor[ConsumptionCycles](), true, "")
	return &huma.Schema{AnyOf: []*huma.Schema{object, {Type: huma.TypeArray, Items: r.Schema(reflect.TypeFor[ConsumptionCycle](), true, "")}}}
}

// MarshalJSON writes the form that was chosen.
func (b cyclesBody) MarshalJSON() ([]byte, error) { return json.Marshal(b.any) }

// DailyConsumptionResponse is the consumption of a time by day, organization and person. Days are those of billing, which begin at 08:00 UTC
// unless the operator set another offset, by the date on which they begin.
type DailyConsumptionResponse struct {
	TotalACUs          float64            `json:"total_acus"`
	ConsumptionByDate  map[string]float64 `json:"consumption_by_date" doc:"YYYY-MM-DD to ACUs."`
	ConsumptionByOrgID map[string]float64 `json:"consumption_by_org_id"`
	ConsumptionByUser  map[string]float64 `json:"consumption_by_user"`
}

// Span is embedded in the input of what is asked for a time. The two pairs of names mean the same; the first wins.
type Span struct {
	StartDate string   `query:"start_date" maxLength:"64" doc:"From this time on: a date, ISO 8601 or Unix seconds."`
	EndDate   string   `query:"end_date" maxLength:"64" doc:"Before this time."`
	Start     string   `query:"start" maxLength:"64" doc:"The same as start_date."`
	End       string   `query:"end" maxLength:"64" doc:"The same as end_date."`
	OrgIDs    []string `query:"org_ids,explode" doc:"Only these organizations."`
}

func (in Span) times() (after, before time.Time, err error) {
	if after, err = older.Instant(either("start_date", in.StartDate, "start", in.Start)); err != nil {
		return after, before, err
	}
	before, err = older.Instant(either("end_date", in.EndDate, "end", in.End))
	return after, before, err
}

// names are the names under which the two times were sent.
func (in Span) names() older.Names {
	after, _ := either("start_date", in.StartDate, "start", in.Start)
	before, _ := either("end_date", in.EndDate, "end", in.End)
	return older.Names{"time_after": after, "time_before": before, "start_date": after, "end_date": before}
}

type cyclesInput struct {
	Shape string `query:"shape" enum:"reference,examples" doc:"reference selects the bare array, examples the object."`
}

type cyclesOutput struct{ Body cyclesBody }

type dailyOutput struct{ Body DailyConsumptionResponse }

func registerConsumption(a *kit.API, rooms Rooms) {
	const tag, successor = "consumption", "GET /v3/enterprise/consumption/"
	kit.Register(a, op("consumptionCycles", http.MethodGet, prefix+"/consumption/cycles", "List billing cycles, newest first", tag, successor+"cycles"),
		func(ctx context.Context, who access.Subject, in *cyclesInput) (*cyclesOutput, error) {
			array, examples := rooms.CyclesArray || rooms.ReferenceOnly, rooms.examples(Shape{in.Shape})
			if in.Shape != "" {
				array = in.Shape == "reference"
			}
			return rooms.cycles(ctx, who, array, examples)
		})
	kit.Register(a, op("dailyConsumption", http.MethodGet, prefix+"/consumption/daily", "Read the consumption by day", tag, successor+"daily"),
		func(ctx context.Context, who access.Subject, in *Span) (*dailyOutput, error) {
			return rooms.daily(ctx, who, "", *in)
		})
	type userInput struct {
		UserID string `path:"user_id" maxLength:"256"`
		Span
	}
	kit.Register(a, op("dailyUserConsumption", http.MethodGet, prefix+"/consumption/daily/{user_id}", "Read a person's consumption by day", tag,
		successor+"daily/users/{user_id}"),
		func(ctx context.Context, who access.Subject, in *userInput) (*dailyOutput, error) {
			return rooms.daily(ctx, who, in.UserID, in.Span)
		})
}

// cycles gives all billing cycles, with what the enterprise used in each.
func (r Rooms) cycles(ctx context.Context, who access.Subject, array, examples bool) (*cyclesOutput, error) {
	spans, err := older.All(func(p page.Request) (page.Page[usage.Span], error) { return r.Usage.Cycles(ctx, who, p) })
	if err != nil {
		return nil, err
	}
	days, err := r.Usage.Daily(ctx, who, usage.DailyParams{})
	if err != nil {
		return nil, err
	}
	used := map[time.Time]int64{}
	for _, d := range days {
		from, _ := r.Usage.Cycle(d.Start)
		used[from.UTC()] += d.Total()
	}
	out := make([]ConsumptionCycle, len(spans))
	for i, s := range spans {
		start, end, n := older.Time(s.After), older.Time(s.Before), older.ACUs(used[s.After.UTC()])
		out[i] = ConsumptionCycle{Start: start, End: end}
		if examples {
			out[i].StartDate, out[i].EndDate, out[i].ACUsUsed = &start, &end, &n
		}
	}
	if array {
		return &cyclesOutput{Body: cyclesBody{out}}, nil
	}
	return &cyclesOutput{Body: cyclesBody{ConsumptionCycles{Cycles: out}}}, nil
}

func (r Rooms) daily(ctx context.Context, who access.Subject, userID string, in Span) (*dailyOutput, error) {
	p := usage.SpreadParams{UserID: userID, OrgIDs: in.OrgIDs}
	var err error
	if p.After, p.Before, err = in.times(); err != nil {
		return nil, err
	}
	s, err := r.Usage.Spread(ctx, who, p)
	if err != nil {
		return nil, in.names().Fault(err)
	}
	same := func(id string) string { return id }
	return &dailyOutput{Body: DailyConsumptionResponse{
		TotalACUs:          older.ACUs(s.Total),
		ConsumptionByDate:  older.ACUsBy(s.ByDay, func(t time.Time) string { return t.UTC().Format(time.DateOnly) }),
		ConsumptionByOrgID: older.ACUsBy(s.ByOrg, same), ConsumptionByUser: older.ACUsBy(s.ByUser, same),
	}}, nil
}
