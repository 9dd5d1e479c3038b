package console

import (
	"context"
	"strconv"

	"gantry/internal/access"
	"gantry/internal/member"
	"gantry/internal/org"
	"gantry/internal/platform/page"
	"gantry/internal/usage"
)

// maxCandidates is how many of a sort a page compares: what it costs doesn't grow beyond.
const maxCandidates = 5 * page.MaxFirst

// candidates are those who may have used something, by what their roll-ups are kept under; nil for who may not see who there is. more
// says that there are more than a page compares.
func (v *visit) candidates(days int) (who map[usage.Scope]map[string]rank, more bool, err error) {
	if v.org == "" {
		return v.candidateOrgs(days)
	}
	if !v.can(access.ViewOrgMembership) {
		return nil, false, nil
	}
	if v.can(access.ViewAccountMembership) { // who holds their rights in the whole enterprise works here, too
		if who, more, err = v.candidatesIn("", page.MaxFirst); err != nil || !more {
			return who, more, err
		}
	}
	return v.candidatesIn(v.org, maxCandidates)
}

func (v *visit) candidateOrgs(days int) (map[usage.Scope]map[string]rank, bool, error) {
	if !v.can(access.ManageOrganizations) {
		return nil, false, nil
	}
	orgs := map[string]rank{}
	more, err := upTo(maxCandidates, func(r page.Request) (page.Page[org.Org], error) {
		return v.Orgs.List(v.ctx(), v.who, r)
	}, func(o org.Org) {
		orgs[o.ID] = rank{name: clean(o.Name), link: v.base + usagePath(o.ID) + "?days=" + strconv.Itoa(days)}
	})
	return map[usage.Scope]map[string]rank{usage.Organization: orgs}, more, err
}

// candidatesIn are the people and service users of an organization, or with "" of the enterprise, as far as the visit may see them.
func (v *visit) candidatesIn(orgID string, most int) (map[usage.Scope]map[string]rank, bool, error) {
	people, robots := map[string]rank{}, map[string]rank{}
	direct, groups := v.Members.OrgPeople, v.Members.OrgIdpPeople
	if orgID == "" {
		direct, groups = v.Members.People, v.Members.IdpPeople
	}
	for _, list := range []func(context.Context, access.Subject, member.PeopleParams) (page.Page[member.Person], error){direct, groups} {
		more, err := upTo(most, func(r page.Request) (page.Page[member.Person], error) {
			return list(v.ctx(), v.who, member.PeopleParams{OrgID: orgID, Page: r})
		}, func(u member.Person) { people[u.ID] = rank{name: clean(u.Email)} })
		if err != nil || more {
			return nil, more, err
		}
	}
	more, err := upTo(most, func(r page.Request) (page.Page[member.ServiceUser], error) {
		switch {
		case v.can(access.ViewAccountMembership):
			return v.Members.List(v.ctx(), v.who, member.ListParams{OrgID: orgID, Page: r})
		case v.can(access.ManageOrgServiceUsers):
			return v.Members.ListOwn(v.ctx(), v.who, orgID, r)
		}
		return page.Page[member.ServiceUser]{}, nil
	}, func(u member.ServiceUser) { robots[u.ID] = rank{name: clean(u.Name), hint: "service user"} })
	return map[usage.Scope]map[string]rank{usage.User: people, usage.ServiceUser: robots}, more, err
}

// upTo goes through a list, at most so far; more says that it goes on.
func upTo[T any](most int, list func(page.Request) (page.Page[T], error), each func(T)) (more bool, err error) {
	r := page.Request{First: page.MaxFirst}
	for read := 0; read < most; {
		p, err := list(r)
		if err != nil {
			return false, err
		}
		for _, item := range p.Items {
			each(item)
		}
		if !p.More {
			return false, nil
		}
		read, r.After = read+len(p.Items), p.End
	}
	return true, nil
}
