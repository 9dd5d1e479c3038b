// Package outposts is the vendor's worker queue under /opbeta/outposts (contract/behaviour.md §18.1): named queues, their sessions,
// claims. The vendor's operator and anyone's own can drive our queue through it.
package outposts

import (
	"context"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/kit"
	"gantry/internal/session"
)

// Rooms are the use cases behind the door.
type Rooms struct {
	Sessions  *session.Service
	Fleet     *fleet.Service
	PublicURL *url.URL
}

// New registers the queue's operations on the kit's router.
func New(k *kit.Kit, rooms Rooms) *kit.API {
	a := kit.NewAPI(k, kit.Version{
		Title: "Outposts", Version: "1", Description: "The worker queue for operators of their own machines.",
		Prefixes: []string{"/opbeta/outposts"}, Form: kit.Detail,
	})
	d := door{rooms}
	d.registerOutposts(a)
	d.registerQueue(a)
	return a
}

type door struct{ rooms Rooms }

// Outpost is a named queue.
type Outpost struct {
	Metadata OutpostMetadata `json:"metadata"`
	Spec     OutpostSpec     `json:"spec"`
	Status   OutpostStatus   `json:"status"`
}

// OutpostMetadata says which queue and since when. Times are Unix seconds.
type OutpostMetadata struct {
	OutpostID string `json:"outpost_id"`
	AccountID string `json:"account_id"`
	CreatedAt int64  `json:"created_at"`
}

// OutpostSpec is what was asked for.
type OutpostSpec struct {
	Name        string  `json:"name"`
	Platform    *string `json:"platform"`
	Description *string `json:"description"`
}

// OutpostStatus is how much waits and runs.
type OutpostStatus struct {
	QueueDepth   int64 `json:"queue_depth"`
	ActiveClaims int64 `json:"active_claims"`
}

// OutpostCreate asks for a queue.
type OutpostCreate struct {
	Name        string               `json:"name" minLength:"1" maxLength:"63"`
	Platform    kit.Optional[string] `json:"platform,omitempty"`
	Description kit.Optional[string] `json:"description,omitempty"`
}

// account is the one enterprise of a deployment.
const account = "enterprise"

func wireOutpost(o fleet.Outpost) Outpost {
	return Outpost{
		Metadata: OutpostMetadata{OutpostID: o.ID, AccountID: account, CreatedAt: o.CreatedAt.Unix()},
		Spec:     OutpostSpec{Name: o.Name, Platform: kit.NullText(o.Platform), Description: kit.NullText(o.Description)},
		Status:   OutpostStatus{QueueDepth: o.QueueDepth, ActiveClaims: o.ActiveClaims},
	}
}

type outpostOutput struct{ Body Outpost }

type outpostsOutput struct{ Body kit.Page[Outpost] }

func op(name, method, path, summary string, p access.Permission) kit.Op {
	return kit.Op{Operation: huma.Operation{
		OperationID: name, Method: method, Path: "/opbeta/outposts" + path, Summary: summary, Tags: []string{"outposts"},
		DefaultStatus: http.StatusOK,
	}, Any: []access.Permission{p}, Enterprise: true}
}

func one(o fleet.Outpost, err error) (*outpostOutput, error) {
	if err != nil {
		return nil, err
	}
	return &outpostOutput{Body: wireOutpost(o)}, nil
}

func (d door) registerOutposts(a *kit.API) {
	kit.Register(a, op("listOutposts", http.MethodGet, "", "List outposts", access.UseOutpostsMachine),
		func(ctx context.Context, s access.Subject, in *kit.PageInput) (*outpostsOutput, error) {
			r, err := kit.OpenPage(ctx, *in)
			if err != nil {
				return nil, err
			}
			p, err := d.rooms.Fleet.Outposts(ctx, s, r)
			if err != nil {
				return nil, err
			}
			return &outpostsOutput{Body: kit.ClosePage(ctx, p, wireOutpost)}, nil
		})
	create := op("createOutpost", http.MethodPost, "", "Create an outpost", access.ManageOutpostsOrchestrator)
	create.Creates = true
	kit.Register(a, create, func(ctx context.Context, s access.Subject, in *struct{ Body OutpostCreate }) (*outpostOutput, error) {
		return one(d.rooms.Fleet.CreateOutpost(ctx, s, in.Body.Name, in.Body.Platform.Value, in.Body.Description.Value))
	})
	type byID struct {
		OutpostID string `path:"outpost_id" maxLength:"64"`
	}
	kit.Register(a, op("getOutpost", http.MethodGet, "/{outpost_id}", "Read an outpost", access.UseOutpostsMachine),
		func(ctx context.Context, s access.Subject, in *byID) (*outpostOutput, error) {
			return one(d.rooms.Fleet.GetOutpost(ctx, s, in.OutpostID))
		})
	kit.Register(a, op("deleteOutpost", http.MethodDelete, "/{outpost_id}", "Delete an empty outpost", access.ManageOutpostsOrchestrator),
		func(ctx context.Context, s access.Subject, in *byID) (*outpostOutput, error) {
			return one(d.rooms.Fleet.DeleteOutpost(ctx, s, in.OutpostID))
		})
}
