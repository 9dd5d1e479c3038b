package kit

import (
	"context"

	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

// PageInput is embedded in the input of a list (contract/behaviour.md §14.1). A list with another maximum declares the same two
// parameters itself and hands them to OpenPage in a PageInput.
type PageInput struct {
	First int    `query:"first" minimum:"1" maximum:"200" default:"100" doc:"How many items at most."`
	After string `query:"after" maxLength:"2048" doc:"The end_cursor of the page before."`
}

// Page is one page on the wire.
type Page[T any] struct {
	Items       []T     `json:"items"`
	EndCursor   *string `json:"end_cursor" doc:"Give it as after to get the next page; null on the last."`
	HasNextPage bool    `json:"has_next_page"`
	Total       *int64  `json:"total" doc:"How many items the list has, null where counting would cost too much."`
}

// OpenPage gives what a room's list asks for. The cursor belongs to the operation, the organization, the path and every declared query
// parameter but first and after; any other is refused with 422.
func OpenPage(ctx context.Context, in PageInput) (page.Request, error) {
	c := callOf(ctx)
	if c.op == nil {
		return page.Request{}, fault.New(fault.Internal, "OpenPage outside of an operation")
	}
	c.scope = c.op.id + "\x00" + c.org + "\x00" + c.req.URL.Path + "\x00" + filterOf(c.req.URL.RawQuery)
	r := page.Request{First: in.First}
	if r.First == 0 {
		r.First = page.DefaultFirst
	}
	if in.After == "" {
		return r, nil
	}
	pos, err := c.op.api.kit.o.Sealer.Open(c.scope, in.After)
	if err != nil {
		return page.Request{}, err
	}
	r.After = pos
	return r, nil
}

// ClosePage makes the wire page of the list that OpenPage opened.
func ClosePage[T, W any](ctx context.Context, p page.Page[T], wire func(T) W) Page[W] {
	out := Page[W]{Items: make([]W, len(p.Items)), HasNextPage: p.More, Total: p.Total}
	for i, item := range p.Items {
		out.Items[i] = wire(item)
	}
	if len(p.Items) > 0 {
		out.EndCursor = endCursor(ctx, p.More, p.End)
	}
	return out
}

// endCursor is nil on the last page, unless the operation keeps it.
func endCursor(ctx context.Context, more bool, end page.Position) *string {
	c := callOf(ctx)
	if c.op == nil || !more && !c.op.decl.KeepCursor {
		return nil
	}
	cursor := c.op.api.kit.o.Sealer.Seal(c.scope, end)
	return &cursor
}
