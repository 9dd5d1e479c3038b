package main

import (
	"context"
	"net/netip"

	"gantry/internal/access"
	"gantry/internal/platform/config"
)

type adminIPListCmd struct {
	Show  adminIPListShowCmd  `cmd:"" help:"Show from where keys are good; nothing for from anywhere."`
	Clear adminIPListClearCmd `cmd:"" help:"Let every address in again, also when the list has locked everybody out."`
}

// ipListJSON is the list in the API's form.
type ipListJSON struct {
	IPRanges []netip.Prefix `json:"ip_ranges"`
}

func printIPList(io *stdio, asJSON bool, list []netip.Prefix) error {
	if asJSON {
		return io.json(ipListJSON{list})
	}
	for _, p := range list {
		io.printf("%s\n", p)
	}
	return nil
}

type adminIPListShowCmd struct {
	adminOptions `embed:""`
}

// Run shows the list.
func (c *adminIPListShowCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.with(ctx, io, src, func(a *admin) error {
		list, err := a.member.IPList(ctx, operator("ip-list show", access.ManageIPWhitelist))
		if err != nil {
			return err
		}
		return printIPList(io, c.JSON, list)
	})
}

type adminIPListClearCmd struct {
	adminOptions `embed:""`
}

// Run clears the list. It goes to the database, not to the server: no address is asked for. Running servers follow within two seconds.
func (c *adminIPListClearCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.with(ctx, io, src, func(a *admin) error {
		list, err := a.member.ClearIPList(ctx, operator("ip-list clear", access.ManageIPWhitelist))
		if err != nil {
			return err
		}
		return printIPList(io, c.JSON, list)
	})
}
