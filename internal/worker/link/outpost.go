package link

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"gantry/internal/wire"
)

// Outpost is the door of one outpost, opened with a worker key.
type Outpost struct {
	caller
}

// Outpost returns the door of an outpost. It costs nothing; the key is checked with the first request.
func (s *Server) Outpost(id, key string) *Outpost {
	base := s.base.JoinPath("gantry", "v1", "outposts", url.PathEscape(id))
	return &Outpost{caller{server: s, base: base, bearer: bearer(key)}}
}

// ClaimNext waits up to c.WaitSeconds for a session to work on; nil without an error when none was queued.
func (o *Outpost) ClaimNext(ctx context.Context, c wire.ClaimNext) (*wire.Claim, error) {
	timeout := exchangeTimeout + time.Duration(c.WaitSeconds)*time.Second
	var claim wire.Claim
	status, err := o.exchange(ctx, timeout, http.MethodPost, "claim-next", c, &claim)
	if err != nil || status == http.StatusNoContent {
		return nil, err
	}
	return &claim, nil
}

// Report tells the server about this machine and hears what to do.
func (o *Outpost) Report(ctx context.Context, r wire.WorkerReport) (wire.WorkerReply, error) {
	var reply wire.WorkerReply
	_, err := o.exchange(ctx, exchangeTimeout, http.MethodPost, "workers", r, &reply)
	return reply, err
}
