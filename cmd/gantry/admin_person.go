package main

import (
	"context"

	"gantry/internal/access"
	"gantry/internal/member"
	"gantry/internal/platform/config"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

type adminPersonCmd struct {
	Add    adminPersonAddCmd    `cmd:"" help:"Make somebody a member of the enterprise, and of an organization."`
	Remove adminPersonRemoveCmd `cmd:"" help:"Remove a member with all that they have."`
	Groups adminPersonGroupsCmd `cmd:"" help:"Say which registered IdP groups somebody is in."`
}

type adminPersonAddCmd struct {
	adminOptions `embed:""`
	Role         string `help:"Enterprise role of a new member." default:"account_member" placeholder:"ROLE_ID"`
	Org          string `help:"Organization that they join as well." placeholder:"ORG_ID"`
	OrgRole      string `name:"org-role" help:"Their role there." default:"org_member" placeholder:"ROLE_ID"`
	Email        string `arg:"" help:"Their e-mail address."`
}

// Run invites somebody. Who is a member already stays as they are.
func (c *adminPersonAddCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.with(ctx, io, src, func(a *admin) error {
		who := everything("person add")
		people, err := a.member.Invite(ctx, who, member.InviteParams{Emails: []string{c.Email}, RoleID: c.Role})
		if err != nil {
			return err
		}
		p := people[0]
		if c.Org != "" {
			p, err = a.member.AssignPersonRole(ctx, who, member.PersonRoleParams{OrgID: c.Org, UserID: p.ID, RoleID: c.OrgRole})
			if fault.Is(err, fault.Conflict) { // they have a role there
				p, err = a.member.ChangePersonRole(ctx, who, member.PersonRoleParams{OrgID: c.Org, UserID: people[0].ID, RoleID: c.OrgRole})
			}
			if err != nil {
				return err
			}
		}
		if c.JSON {
			return io.json(map[string]any{"user_id": p.ID, "email": p.Email})
		}
		io.printf("user   %s\nemail  %s\n", p.ID, p.Email)
		return nil
	})
}

type adminPersonRemoveCmd struct {
	adminOptions `embed:""`
	Email        string `arg:"" help:"Their e-mail address."`
}

// Run removes a member.
func (c *adminPersonRemoveCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.with(ctx, io, src, func(a *admin) error {
		userID, err := a.userID(ctx, c.Email)
		if err != nil {
			return err
		}
		_, err = a.member.RemovePerson(ctx, operator("person remove", access.ManageAccountMembership), userID)
		return err
	})
}

type adminPersonGroupsCmd struct {
	adminOptions `embed:""`
	Email        string   `arg:"" help:"Their e-mail address."`
	Group        []string `arg:"" optional:"" help:"Names of the groups; none takes them out of all."`
}

// Run sets a member's groups, as a sign-in through the identity provider does.
func (c *adminPersonGroupsCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.with(ctx, io, src, func(a *admin) error {
		userID, err := a.userID(ctx, c.Email)
		if err != nil {
			return err
		}
		who := everything("person groups")
		if err := a.registered(ctx, who, c.Group); err != nil {
			return err
		}
		return a.member.SyncGroups(ctx, who, userID, c.Group)
	})
}

// registered refuses names of groups that aren't registered: what a provider says is passed over, what somebody typed is a mistake.
func (a *admin) registered(ctx context.Context, who access.Subject, names []string) error {
	known := map[string]bool{}
	for r := (page.Request{First: page.MaxFirst}); ; {
		p, err := a.member.RegisteredGroups(ctx, who, r)
		if err != nil {
			return err
		}
		for _, g := range p.Items {
			known[g.Name] = true
		}
		if !p.More {
			break
		}
		r.After = p.End
	}
	for _, n := range names {
		if !known[n] {
			return fault.New(fault.NotFound, "the IdP group %q isn't registered; `gantry api GET /v3/enterprise/idp-groups` lists those that are", n)
		}
	}
	return nil
}
