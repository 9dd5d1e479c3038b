package main

import (
	"context"
	"fmt"

	"gantry/internal/access"
	"gantry/internal/member"
	"gantry/internal/platform/config"
	"gantry/internal/platform/page"
)

type adminAPIKeyCmd struct {
	Add    adminAPIKeyAddCmd    `cmd:"" help:"Make a key for v1: an organization's, or with --user a person's."`
	List   adminAPIKeyListCmd   `cmd:"" help:"Show the keys, without their secrets."`
	Revoke adminAPIKeyRevokeCmd `cmd:"" help:"End a key at once."`
}

// everything is what the operator gives away with such a key: whoever may write the database holds it anyway.
func everything(what string) access.Subject {
	return operator(what, access.Builtin()[0].Permissions.List()...)
}

type adminAPIKeyAddCmd struct {
	adminOptions `embed:""`
	Org          string `help:"Organization that the key belongs to. Default: the first one." placeholder:"ORG_ID"`
	User         string `help:"E-mail address of the person whose key it is (apk_user_). Default: the organization's key (apk_)." placeholder:"EMAIL"`
}

// Run makes a key and shows it this once.
func (c *adminAPIKeyAddCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.with(ctx, io, src, func(a *admin) error {
		who := everything("api-key add")
		org, err := a.orgOr(ctx, c.Org)
		if err != nil {
			return err
		}
		var k member.NewKey
		if c.User == "" {
			k, err = a.member.CreateOrgKey(ctx, who, org)
		} else {
			var userID string
			if userID, err = a.userID(ctx, c.User); err == nil {
				k, err = a.member.CreatePersonalKey(ctx, who, userID, org)
			}
		}
		if err != nil {
			return err
		}
		if c.JSON {
			return io.json(map[string]any{"api_key_id": k.ID, "token": k.Token.Reveal(), "org_id": org})
		}
		io.printf("key           %s   (shown this once)\nid            %s\norganization  %s\n", k.Token.Reveal(), k.ID, org)
		return nil
	})
}

// orgOr gives the organization that was named, or the first one.
func (a *admin) orgOr(ctx context.Context, orgID string) (string, error) {
	if orgID != "" {
		return orgID, nil
	}
	first, err := a.member.FirstOrg(ctx)
	if err != nil {
		return "", err
	}
	if first == "" {
		return "", fmt.Errorf("there is no organization; start the server once, or name one with --org")
	}
	return first, nil
}

// userID finds a member by their address.
func (a *admin) userID(ctx context.Context, email string) (string, error) {
	userID, err := a.member.UserIDOf(ctx, email)
	if err == nil && userID == "" {
		err = fmt.Errorf("nobody has the address %s; `gantry admin person add %s` makes them a member", email, email)
	}
	return userID, err
}

type adminAPIKeyListCmd struct {
	adminOptions `embed:""`
}

// Run shows the live keys.
func (c *adminAPIKeyListCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.with(ctx, io, src, func(a *admin) error {
		all, err := pages(func(r page.Request) (page.Page[member.OlderKey], error) {
			return a.member.ListOlderKeys(ctx, everything("api-key list"), "", r)
		})
		if err != nil {
			return err
		}
		type row struct {
			ID      string `json:"api_key_id"`
			OrgID   string `json:"org_id"`
			User    string `json:"user_email"`
			Created int64  `json:"created_at"`
		}
		rows, lines := make([]row, len(all)), make([][]string, len(all))
		for i, k := range all {
			rows[i] = row{k.ID, k.OrgID, k.Email, k.CreatedAt.Unix()}
			whose := k.Email
			if k.Service() {
				whose = "the organization"
			}
			lines[i] = []string{k.ID, k.OrgName, whose}
		}
		if c.JSON {
			return io.json(rows)
		}
		if len(all) == 0 {
			io.printf("There are no keys of v1. `gantry admin api-key add` makes one.\n")
			return nil
		}
		return io.table([]string{"ID", "ORGANIZATION", "WHOSE"}, lines)
	})
}

type adminAPIKeyRevokeCmd struct {
	adminOptions `embed:""`
	ID           string `arg:"" help:"The key's id."`
}

// Run ends a key.
func (c *adminAPIKeyRevokeCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.with(ctx, io, src, func(a *admin) error {
		return orList(a.member.RevokeOlderKey(ctx, everything("api-key revoke"), c.ID), "api-key list")
	})
}
