// Package v2 is the door of API version 2, the enterprise API before v3 (contract/legacy.md §3): wire types, conversions and nothing
// else. It wants an enterprise admin for everything; the rooms behind are those of every version.
//
// Two shapes of it were published. Answers hold both: the reference's members, and beside them the quick examples' as copies of the
// same data (contract/legacy.md §7). Options and the query parameter shape leave the examples' out.
package v2

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/api/older"
	"gantry/internal/audit"
	"gantry/internal/fleet"
	"gantry/internal/forge"
	"gantry/internal/insight"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/metric"
	"gantry/internal/org"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/playbook"
	"gantry/internal/session"
	"gantry/internal/usage"
)

// Rooms are the use cases behind the door, who tells its credentials, and the operator's choices.
type Rooms struct {
	Authenticator kit.Authenticator
	Audit         *audit.Service
	Fleet         *fleet.Service
	Forge         *forge.Service
	Insights      *insight.Service
	Members       *member.Service
	Metrics       *metric.Service
	Orgs          *org.Service
	Playbooks     *playbook.Service
	Sessions      *session.Service
	Usage         *usage.Service
	Options
}

// Options are the operator's choices of shape.
type Options struct {
	// ReferenceOnly leaves the quick examples' members out of answers.
	ReferenceOnly bool
	// CyclesArray answers consumption cycles as the reference's bare array instead of the examples' object.
	CyclesArray bool
}

var registrations []func(*kit.API, Rooms)

// New registers every operation of the version on the kit's router. With the zero Rooms it serves to emit the document.
func New(k *kit.Kit, rooms Rooms) *kit.API {
	a := kit.NewAPI(k, kit.Version{
		Title:         "Gantry API v2",
		Version:       "2",
		Description:   "The enterprise API before v3, for programs that were written for it. New ones use v3.",
		Prefixes:      []string{"/v2/", "/api/v2/", "/beta/v2/"},
		Form:          kit.FastAPI,
		Rewrite:       rewrite,
		Deprecated:    older.Deprecated,
		Authenticator: rooms.Authenticator,
	})
	for _, register := range registrations {
		register(a, rooms)
	}
	return a
}

const (
	prefix     = "/v2/enterprise"
	wide       = "/api/v2/enterprise"
	betaPrefix = "/beta/v2/enterprise"
)

// rewrite knows the older prefix, the audit logs' second place, the beta's repositories without their prefix, and a slash at the end.
func rewrite(_, path string) string {
	switch {
	case strings.HasPrefix(path, wide+"/"):
		path = path[len("/api"):]
	case !strings.HasPrefix(path, "/v2/") && !strings.HasPrefix(path, "/beta/v2/"):
		return path
	}
	path = strings.TrimRight(path, "/")
	switch {
	case path == "/v2/audit-logs":
		return prefix + "/audit-logs"
	case strings.HasPrefix(path, prefix+"/repositories/"):
		return "/beta" + path
	}
	return path
}

// op declares an operation for enterprise admins.
func op(name, method, path, summary, tag, successor string) kit.Op {
	return kit.Op{
		Operation: huma.Operation{
			OperationID: name, Method: method, Path: path, Summary: summary, Tags: []string{tag}, DefaultStatus: http.StatusOK,
		},
		Admin: true, Enterprise: true, Successor: successor,
	}
}

// Shape is embedded in the input of an operation that has two shapes.
type Shape struct {
	Shape string `query:"shape" enum:"reference,examples,both" doc:"Which published shape to answer; both where nothing else was set."`
}

// examples reports whether the quick examples' members belong into the answer.
func (o Options) examples(s Shape) bool {
	if s.Shape != "" {
		return s.Shape != "reference"
	}
	return !o.ReferenceOnly
}

// The most items of a page: of the reference, and of the older prefix (contract/legacy.md §6.8).
const (
	maxLimit     = 200
	maxWideLimit = 1000
)

// Paging is embedded in the input of a list.
type Paging struct {
	Skip  int `query:"skip" default:"0" minimum:"0" maximum:"1000000000" doc:"How many items to leave out."`
	Limit int `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"How many items at most: 200, below /api/v2 1000."`
}

// request gives what a room's list asks for.
func (p Paging) request(ctx context.Context) (page.Request, error) {
	if p.Limit > maxLimit && !strings.HasPrefix(kit.Path(ctx), wide+"/") {
		return page.Request{}, fault.InvalidQuery("limit", "must be at most %d", maxLimit)
	}
	return page.Request{First: p.Limit, Skip: p.Skip, Total: true}, nil
}

// List is one page of a list. NextCursor is the next skip, null on the last page.
type List[T any] struct {
	Items      []T   `json:"items"`
	Total      int64 `json:"total"`
	Skip       int   `json:"skip"`
	Limit      int   `json:"limit"`
	HasMore    bool  `json:"has_more"`
	NextCursor *int  `json:"next_cursor"`
}

// listOf makes the wire page of a room's page.
func listOf[T, W any](r page.Request, p page.Page[T], wire func(T) W) List[W] {
	out := List[W]{Items: make([]W, len(p.Items)), Skip: r.Skip, Limit: r.First, HasMore: p.More}
	for i, item := range p.Items {
		out.Items[i] = wire(item)
	}
	if p.Total != nil {
		out.Total = *p.Total
	}
	if p.More {
		next := r.Skip + len(p.Items)
		out.NextCursor = &next
	}
	return out
}

// SuccessResponse says that it was done.
type SuccessResponse struct {
	Status string `json:"status"`
}

type successOutput struct{ Body SuccessResponse }

// success answers a write.
func success(err error) (*successOutput, error) {
	if err != nil {
		return nil, err
	}
	return &successOutput{Body: SuccessResponse{Status: "success"}}, nil
}
