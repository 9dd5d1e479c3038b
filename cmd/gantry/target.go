package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"gantry/internal/client"
	"gantry/internal/platform/secret"
)

const defaultURL = "http://127.0.0.1:8080"

// target is which server a client command calls and as whom. Each value comes from the first of: flag, GANTRY_ variable,
// DEVIN_ variable, profile.
type target struct {
	URL  string        `help:"Address of the server." placeholder:"URL" env:"GANTRY_URL" group:"Target"`
	Key  secret.String `help:"API key (cog_…). Better given as GANTRY_KEY or by gantry login." placeholder:"KEY" env:"GANTRY_KEY,DEVIN_API_KEY" group:"Target"`
	Org  string        `help:"Organization to act in." placeholder:"ORG_ID" env:"GANTRY_ORG,DEVIN_ORG_ID" group:"Target"`
	JSON bool          `name:"json" help:"Print JSON for scripts." group:"Target"`
}

// open fills the target from the profile and makes the client.
func (t *target) open(io *stdio) (*client.Client, error) {
	p, err := readProfile()
	if err != nil {
		return nil, err
	}
	// A key and an organization belong to the server they were kept for; they are sent to no other.
	mine := t.URL == "" || strings.TrimSuffix(t.URL, "/") == p.URL
	if t.URL == "" {
		t.URL = p.URL
	}
	if t.URL == "" {
		t.URL = defaultURL
	}
	if t.Key.IsZero() && mine {
		t.Key = secret.New(p.Key)
		if t.Org == "" {
			t.Org = p.OrgID
		}
	}
	if t.Key.IsZero() {
		return nil, fmt.Errorf("no key for %s: run `gantry login --url %s`, or set GANTRY_KEY", t.URL, t.URL)
	}
	return client.New(client.Options{URL: t.URL, Key: t.Key, UserAgent: "gantry/" + version(), Waiting: func(err error) {
		io.aside("gantry: " + err.Error() + "; trying again")
	}})
}

// organization gives the organization to act in: the one named, the key's own, or the only one there is.
func (t *target) organization(ctx context.Context, c *client.Client) (string, error) {
	if t.Org != "" {
		return t.Org, nil
	}
	self, err := c.Self(ctx)
	if err != nil {
		return "", explain(err)
	}
	if self.OrgID != "" {
		return self.OrgID, nil
	}
	orgs, err := c.ListOrganizations(ctx)
	if err != nil && client.StatusOf(err) != 403 {
		return "", explain(err)
	}
	if len(orgs.Items) == 1 {
		return orgs.Items[0].OrgID, nil
	}
	if len(orgs.Items) == 0 {
		return "", errors.New("no organization is named: give --org, GANTRY_ORG or `gantry login --org`")
	}
	const most = 10
	lines := []string{"the key is good for several organizations: name one with --org, GANTRY_ORG or `gantry login --org`"}
	for i, o := range orgs.Items {
		if i == most {
			lines = append(lines, "…")
			break
		}
		lines = append(lines, o.OrgID+"  "+o.Name)
	}
	return "", errors.New(strings.Join(lines, "\n  "))
}

// openOrg is open and organization in one.
func (t *target) openOrg(ctx context.Context, io *stdio) (*client.Client, string, error) {
	c, err := t.open(io)
	if err != nil {
		return nil, "", err
	}
	org, err := t.organization(ctx, c)
	return c, org, err
}

// explain adds the next step to errors that have an obvious one.
func explain(err error) error {
	var refused *client.ConnectError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("%w\n  is the server running? `gantry serve` starts one here; --url names another", err)
	case client.StatusOf(err) == 401 && strings.Contains(err.Error(), "IP access list"):
		return fmt.Errorf("%w\n  `gantry admin ip-list clear` on the server's machine lets every address in again", err)
	case client.StatusOf(err) == 401:
		return fmt.Errorf("%w\n  the key is unknown, expired or revoked: `gantry login` keeps a new one", err)
	}
	e, ok := errors.AsType[*client.Error](err)
	switch {
	case !ok:
	case len(e.Body) > 0 && !json.Valid(e.Body):
		return fmt.Errorf("%w\n  Gantry doesn't answer like this: is --url right, and what stands in between?", err)
	case e.Status == 404 && e.Detail == "unknown organization":
		return fmt.Errorf("%w\n  `gantry api GET /v3/enterprise/organizations` lists them; --org or `gantry login --org` names one", err)
	case e.Status == 422 && strings.HasPrefix(e.Detail, "repos."):
		return fmt.Errorf("%w\n  `gantry admin repo list` shows the names on the server's machine; a path begins with ./ or /", err)
	}
	return err
}

// local reports whether a server's address is this machine, so that it can read this machine's files.
func local(rawURL string) bool {
	u, err := url.Parse(rawURL)
	if err != nil {
		return false
	}
	host := u.Hostname()
	if host == "localhost" {
		return true
	}
	if name, err := os.Hostname(); err == nil && host == name {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	return ip.IsLoopback() || ownAddress(ip)
}

func ownAddress(ip netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == ip {
			return true
		}
	}
	return false
}
