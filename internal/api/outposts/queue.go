package outposts

import (
	"context"
	"net/http"
	"time"

	"gantry/internal/access"
	"gantry/internal/api/gateway"
	"gantry/internal/fleet"
	"gantry/internal/kit"
	"gantry/internal/platform/id"
)

// QueueItem is a session's place in the queue. Clients tolerate enum values they don't know.
type QueueItem struct {
	Metadata QueueMetadata `json:"metadata"`
	Spec     QueueSpec     `json:"spec"`
	Status   QueueStatus   `json:"status"`
}

// QueueMetadata says which session, where and since when. Times are Unix seconds.
type QueueMetadata struct {
	SessionID string `json:"session_id"`
	OutpostID string `json:"outpost_id"`
	CreatedAt int64  `json:"created_at"`
	UpdatedAt int64  `json:"updated_at"`
}

// QueueSpec is what is to be done: new or resume.
type QueueSpec struct {
	Kind            string  `json:"kind"`
	Platform        *string `json:"platform"`
	RemoteBinarySHA *string `json:"remote_binary_sha"`
}

// QueueStatus is who has it. The token and the gateway's address stand in the answer to a claim only.
type QueueStatus struct {
	Phase         string  `json:"phase"`
	AcceptorID    *string `json:"acceptor_id"`
	ClaimDeadline *int64  `json:"claim_deadline"`
	SessionStatus string  `json:"session_status"`
	ConnectToken  *string `json:"connect_token"`
	GatewayURL    *string `json:"gateway_url"`
}

// QueuePage is a page of the queue. The cursor is always there: a watch begins with it.
type QueuePage struct {
	Items       []QueueItem `json:"items"`
	Cursor      string      `json:"cursor"`
	HasNextPage bool        `json:"has_next_page"`
	Total       *int64      `json:"total"`
}

// QueueChange is one event of a watch: MODIFIED or DELETED.
type QueueChange struct {
	Type   string    `json:"type"`
	Object QueueItem `json:"object"`
	Cursor string    `json:"cursor"`
}

func wireItem(r fleet.Row) QueueItem {
	item := QueueItem{
		Metadata: QueueMetadata{SessionID: r.SessionID, OutpostID: r.OutpostID, CreatedAt: r.CreatedAt.Unix(), UpdatedAt: r.UpdatedAt.Unix()},
		Spec:     QueueSpec{Kind: r.Kind, Platform: kit.NullText(r.Platform)},
		Status:   QueueStatus{Phase: string(r.Phase), AcceptorID: kit.NullText(r.AcceptorID), SessionStatus: string(r.SessionStatus)},
	}
	if !r.ClaimDeadline.IsZero() {
		at := r.ClaimDeadline.Unix()
		item.Status.ClaimDeadline = &at
	}
	return item
}

type queueInput struct {
	Outpost    string `query:"outpost" required:"true" maxLength:"64"`
	Phase      string `query:"phase" enum:"pending,claimed"`
	AcceptorID string `query:"acceptor_id" maxLength:"200"`
	First      int    `query:"first" minimum:"1" maximum:"200" default:"100"`
	Cursor     string `query:"cursor" maxLength:"300"`
	Watch      bool   `query:"watch"`
}

type itemOutput struct{ Body QueueItem }

// AcceptorRequest names the worker that claims or releases.
type AcceptorRequest struct {
	AcceptorID string `json:"acceptor_id" minLength:"1" maxLength:"200"`
}

type acceptorInput struct {
	SessionID string `path:"session_id" maxLength:"300"`
	Body      AcceptorRequest
}

func (d door) registerQueue(a *kit.API) {
	list := op("listQueue", http.MethodGet, "/devins", "List an outpost's sessions, or watch them", access.UseOutpostsMachine)
	list.Worker = true
	kit.RegisterChoice(a, list, func(in *queueInput) bool { return in.Watch }, d.page, d.watch)
	claim := op("claimSession", http.MethodPost, "/devins/{session_id}/claim", "Claim a session", access.UseOutpostsMachine)
	claim.Worker = true
	kit.Register(a, claim, func(ctx context.Context, s access.Subject, in *acceptorInput) (*itemOutput, error) {
		c, err := d.rooms.Sessions.ClaimByName(ctx, s, id.BareSession(in.SessionID), in.Body.AcceptorID)
		if err != nil {
			return nil, err
		}
		item := wireItem(c.Row)
		address := gateway.Address(d.rooms.PublicURL, c.SessionID)
		item.Status.ConnectToken, item.Status.GatewayURL = &c.Token, &address
		return &itemOutput{Body: item}, nil
	})
	release := op("releaseSession", http.MethodPost, "/devins/{session_id}/release", "Give a session back", access.UseOutpostsMachine)
	release.Worker = true
	kit.Register(a, release, func(ctx context.Context, s access.Subject, in *acceptorInput) (*itemOutput, error) {
		r, err := d.rooms.Sessions.Release(ctx, s, id.BareSession(in.SessionID), in.Body.AcceptorID)
		if err != nil {
			return nil, err
		}
		return &itemOutput{Body: wireItem(r)}, nil
	})
}

func (d door) page(ctx context.Context, s access.Subject, in *queueInput) (*QueuePage, error) {
	p, err := d.rooms.Fleet.Watch(ctx, s, fleet.WatchParams{
		OutpostID: in.Outpost, Phase: fleet.Phase(in.Phase), AcceptorID: in.AcceptorID, Cursor: in.Cursor, First: in.First,
	})
	if err != nil {
		return nil, err
	}
	out := &QueuePage{Items: make([]QueueItem, len(p.Rows)), Cursor: p.Cursor, HasNextPage: p.More}
	for i, r := range p.Rows {
		out.Items[i] = wireItem(r)
	}
	return out, nil
}

const (
	// watchTime is when the server ends a watch; the client comes back with the last cursor.
	watchTime = 5 * time.Minute
	// watchEvery is how often a watch looks that nobody wakes.
	watchEvery = time.Second
)

// watch tells of every change from the cursor on. A row may come twice: the cursor is inclusive (contract/behaviour.md §18.1.4).
func (d door) watch(ctx context.Context, s access.Subject, in *queueInput) (kit.StreamFunc, error) {
	params := fleet.WatchParams{OutpostID: in.Outpost, Cursor: in.Cursor, First: in.First, Ended: true}
	first, err := d.rooms.Fleet.Watch(ctx, s, params)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, st *kit.Stream) error {
		wake, stop := d.rooms.Fleet.Wake(in.Outpost)
		defer stop()
		until := st.Now().Add(watchTime)
		seen := map[string]int64{}
		for p := first; ; {
			for _, r := range p.Rows {
				at := r.UpdatedAt.UnixMilli()
				if seen[r.SessionID] == at {
					continue
				}
				seen[r.SessionID] = at
				change := QueueChange{Type: "MODIFIED", Object: wireItem(r), Cursor: fleet.CursorOf(r)}
				if r.Phase == fleet.Ended || r.Phase == fleet.Parked {
					change.Type = "DELETED"
				}
				if err := st.Send(kit.Event{Data: change}); err != nil {
					return err
				}
			}
			params.Cursor, params.Overlap = p.Cursor, !p.More
			pause := time.Duration(0) // what Wait asks counts also while there is more
			if !p.More {
				if st.Now().After(until) {
					return nil
				}
				pause = watchEvery
			}
			if err := st.Wait(wake, pause); err != nil {
				return err
			}
			if p, err = d.rooms.Fleet.Watch(ctx, s, params); err != nil {
				return err
			}
		}
	}, nil
}
