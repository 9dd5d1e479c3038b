package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/member"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/page"
)

type adminWorkerKeyCmd struct {
	Add    adminWorkerKeyAddCmd    `cmd:"" help:"Make a key for workers."`
	List   adminWorkerKeyListCmd   `cmd:"" help:"Show the keys, without their secrets."`
	Revoke adminWorkerKeyRevokeCmd `cmd:"" help:"End a key at once."`
}

type adminWorkerKeyAddCmd struct {
	adminOptions `embed:""`
	Outpost      []string      `help:"Name or id of an outpost the key is for; may be repeated." default:"default" placeholder:"OUTPOST"`
	Org          []string      `help:"Organization whose sessions it may take; may be repeated. Default: every one." placeholder:"ORG_ID"`
	IPRange      []string      `name:"ip-range" help:"Range of addresses from which the key is good, like 10.0.0.0/8; may be repeated. Default: everywhere." placeholder:"CIDR"`
	Expires      time.Duration `help:"The key ends after this long; 0 for never." placeholder:"DURATION"`
	Name         string        `arg:"" help:"Name of the key."`
}

// Run makes a key and shows it this once.
func (c *adminWorkerKeyAddCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.making(ctx, io, src, func(a *admin) error {
		p := member.WorkerKeyParams{Name: c.Name, Orgs: c.Org, IPRanges: c.IPRange}
		var err error
		if p.Outposts, err = a.outposts(ctx, c.Outpost); err != nil {
			return err
		}
		if c.Expires > 0 {
			p.ExpiresAt = clock.Clock{}.Now().Add(c.Expires)
		}
		k, token, err := a.member.CreateWorkerKey(ctx, operator("worker-key add", access.ManageOutpostsOrchestrator), p)
		if err != nil {
			return err
		}
		if c.JSON {
			return io.json(map[string]any{"worker_key_id": k.ID, "name": k.Name, "outposts": k.Outposts, "token": token.Reveal()})
		}
		io.printf("key  %s   (shown this once)\nid   %s\n\n  GANTRY_WORKER_KEY=… gantry worker --server URL --outpost %s\n", token.Reveal(), k.ID, k.Outposts[0])
		return nil
	})
}

// outposts gives the ids of outposts that were named or given by id.
func (a *admin) outposts(ctx context.Context, given []string) ([]string, error) {
	all, err := pages(func(r page.Request) (page.Page[fleet.Outpost], error) {
		return a.fleet.Outposts(ctx, operator("outposts", access.UseOutpostsMachine), r)
	})
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(given))
	for i, g := range given {
		k := slices.IndexFunc(all, func(o fleet.Outpost) bool { return o.ID == g || o.Name == g })
		if k < 0 {
			names := make([]string, len(all))
			for j, o := range all {
				names[j] = o.Name
			}
			return nil, fmt.Errorf("there is no outpost %q; there are: %s", g, strings.Join(names, ", "))
		}
		ids[i] = all[k].ID
	}
	return ids, nil
}

type adminWorkerKeyListCmd struct {
	adminOptions `embed:""`
}

// Run shows the keys, revoked ones included.
func (c *adminWorkerKeyListCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.with(ctx, io, src, func(a *admin) error {
		all, err := pages(func(r page.Request) (page.Page[member.WorkerKey], error) {
			return a.member.ListWorkerKeys(ctx, operator("worker-key list", access.ManageOutpostsOrchestrator), r)
		})
		if err != nil {
			return err
		}
		return printWorkerKeys(io, c.JSON, all)
	})
}

func printWorkerKeys(io *stdio, asJSON bool, all []member.WorkerKey) error {
	type row struct {
		ID       string   `json:"worker_key_id"`
		Name     string   `json:"name"`
		Outposts []string `json:"outposts"`
		Orgs     []string `json:"org_ids"`
		IPRanges []string `json:"ip_ranges"`
		LastUsed *int64   `json:"last_used_at"`
		Expires  *int64   `json:"expires_at"`
		Revoked  *int64   `json:"revoked_at"`
	}
	rows, lines := make([]row, len(all)), make([][]string, len(all))
	for i, k := range all {
		rows[i] = row{k.ID, k.Name, k.Outposts, k.Orgs, rangeTexts(k.IPRanges), unixOrNull(k.LastUsedAt), unixOrNull(k.ExpiresAt), unixOrNull(k.RevokedAt)}
		state := "active"
		if !k.RevokedAt.IsZero() {
			state = "revoked"
		}
		lines[i] = []string{
			k.ID, k.Name, state, strings.Join(k.Outposts, ","), orText(strings.Join(k.Orgs, ","), "all"),
			orText(strings.Join(rangeTexts(k.IPRanges), ","), "anywhere"), dateOr(k.LastUsedAt, "never"), dateOr(k.ExpiresAt, "never"),
		}
	}
	if asJSON {
		return io.json(rows)
	}
	return io.table([]string{"ID", "NAME", "STATE", "OUTPOSTS", "ORGANIZATIONS", "FROM", "LAST USED", "EXPIRES"}, lines)
}

// rangeTexts are null where a key is good from anywhere.
func rangeTexts(ranges []netip.Prefix) []string {
	var out []string
	for _, r := range ranges {
		out = append(out, r.String())
	}
	return out
}

func unixOrNull(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	n := t.Unix()
	return &n
}

func dateOr(t time.Time, other string) string {
	if t.IsZero() {
		return other
	}
	return t.Local().Format(time.DateTime)
}

type adminWorkerKeyRevokeCmd struct {
	adminOptions `embed:""`
	ID           string `arg:"" help:"Id of the key."`
}

// Run ends a key; a running server refuses it within two seconds.
func (c *adminWorkerKeyRevokeCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.with(ctx, io, src, func(a *admin) error {
		k, err := a.member.RevokeWorkerKey(ctx, operator("worker-key revoke", access.ManageOutpostsOrchestrator), c.ID)
		if err != nil {
			return orList(err, "worker-key list")
		}
		return printWorkerKeys(io, c.JSON, []member.WorkerKey{k})
	})
}
