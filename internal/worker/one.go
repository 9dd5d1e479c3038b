package worker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"gantry/internal/platform/secret"
	"gantry/internal/wire"
	"gantry/internal/worker/report"
)

// Environment variables by which the vendor's operator hands over one session (contract/behaviour.md §18.1 9).
const (
	EnvSessionToken = "DEVIN_REMOTE_SESSION_TOKEN"
	EnvGatewayURL   = "DEVIN_OUTPOST_GATEWAY_URL"
)

// OneOptions configure a worker for a single session that somebody else has claimed. Server, Key and OutpostID of Options aren't
// used; Token and GatewayURL come from the environment when they are empty.
type OneOptions struct {
	Options
	SessionID  string
	Token      secret.String
	GatewayURL string
}

// RunOne works on one claimed session until it is parked, stopped or over, and returns nil then. When ctx ends the session is
// drained. An error means that the claim was lost, or that the session failed.
func RunOne(ctx context.Context, o OneOptions) error {
	if o.Token.IsZero() {
		o.Token = secret.New(os.Getenv(EnvSessionToken))
	}
	if o.GatewayURL == "" {
		o.GatewayURL = os.Getenv(EnvGatewayURL)
	}
	if o.SessionID == "" || o.Token.IsZero() || o.GatewayURL == "" {
		return fmt.Errorf("a single session needs its id, its token (%s) and the gateway's address (%s)", EnvSessionToken, EnvGatewayURL)
	}
	gateway, err := url.Parse(o.GatewayURL)
	if err != nil {
		return errors.New("the gateway's address is no URL")
	}
	o.Server = (&url.URL{Scheme: gateway.Scheme, Host: gateway.Host}).String()
	o.Capacity = 1
	w, err := open(ctx, o.Options)
	if err != nil {
		return err
	}
	defer w.close()
	r := w.start(wire.Claim{SessionID: o.SessionID, ConnectToken: o.Token.Reveal(), GatewayURL: o.GatewayURL})
	select {
	case <-r.done:
	case <-ctx.Done():
		w.drain()
		<-r.done
	}
	var paused *pause
	switch {
	case errors.Is(r.result, report.ErrParked), errors.Is(r.result, report.ErrStopped), errors.Is(r.result, errTerminated),
		errors.As(r.result, &paused):
		return nil
	}
	return r.result
}
