package data

import (
	"context"
	"fmt"
	"maps"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/rollup"
	"gantry/internal/usage"
)

// org is an organization as sessions need it.
type org struct {
	id        string
	users     []*user
	services  []string
	playbooks []string
	schedules []string
	repos     []string
	parent    string // a session that has children
}

type user struct{ id, email string }

// declare names the columns of every table that is loaded.
func (l *loader) declare() {
	columns := map[string][]string{
		"organizations":     {"org_id", "name", "max_cycle_acu_limit", "created_at", "updated_at"},
		"org_tags":          {"org_id", "tag"},
		"org_groups":        {"name", "max_cycle_acus"},
		"org_group_members": {"org_id", "group_name"},
		"users":             {"user_id", "email", "email_key", "name", "created_at"},
		"user_acu_limits":   {"user_id", "cycle_acu_limit"},
		"service_users":     {"service_user_id", "name", "org_id", "created_at"},
		"role_assignments":  {"principal_id", "org_id", "principal_kind", "role_id", "created_at"},
		"idp_groups":        {"idp_group_name", "created_at"},
		"idp_group_roles":   {"idp_group_name", "org_id", "role_id", "created_at"},
		"idp_group_members": {"user_id", "idp_group_name", "created_at"},
		"knowledge_folders": {"folder_id", "org_id", "name", "path", "is_enabled", "is_live", "created_at", "updated_at"},
		"knowledge_notes": {
			"note_id", "org_id", "created_at", "updated_at", "folder_id", "is_enabled", "pinned_repo", "name", "trigger_text", "size", "hash",
			"body", "folded",
		},
		"playbooks": {"playbook_id", "org_id", "created_at", "updated_at", "created_by", "updated_by", "macro", "title", "size", "hash", "body"},
		"schedules": {
			"schedule_id", "org_id", "name", "prompt", "schedule_type", "frequency", "interval_count", "enabled", "agent", "bypass_approval",
			"notify_on", "created_at", "updated_at", "version", "consecutive_failures",
		},
		"git_connections": {
			"git_connection_id", "name", "provider_type", "host", "base_url", "username", "known_hosts", "built_in", "created_at", "updated_at",
		},
		"git_repositories": {
			"git_connection_id", "folded", "path", "search", "url", "provider_repository_id", "seen_at", "created_at",
		},
		"git_permissions": {"git_permission_id", "org_id", "git_connection_id", "scope", "value", "folded", "read_only", "created_at"},
		"sessions": {
			"session_id", "org_id", "title", "status", "status_detail", "created_at", "updated_at", "user_id", "service_user_id", "playbook_id",
			"parent_session_id", "child_session_ids", "schedule_id", "origin", "category", "subcategory", "agent", "tags", "repos",
			"session_links", "pull_requests", "is_archived", "resumable", "bypass_approval", "structured_output_required", "acu_micros",
			"run_acu_micros", "last_seq", "last_command", "acked_command", "num_user_messages", "num_devin_messages", "ended_at", "outpost_id",
			"size", "counted",
		},
		"session_tags":     {"session_id", "tag", "org_id", "created_at"},
		"session_repos":    {"session_id", "repo", "org_id", "created_at"},
		"session_events":   {"session_id", "seq", "event_id", "type", "created_at", "data"},
		"session_insights": {"session_id", "org_id", "state", "generation", "messages", "started_at", "finished_at", "analysis"},
		"audit_entries":    audit.BulkColumns(),
	}
	maps.Copy(columns, rollup.BulkColumns())
	maps.Copy(columns, usage.BulkColumns())
	for name, c := range columns {
		l.tables[name] = &table{columns: c}
	}
}

func (l *loader) loadOrgs(ctx context.Context) error {
	for i := range l.scaled(fullOrgs) {
		at := l.from.Add(time.Duration(i) * time.Minute)
		o := &org{id: l.id("org-", at)}
		var limit any
		if i%3 == 0 {
			limit = 1_000_000
		}
		if err := l.put(ctx, "organizations", o.id, fmt.Sprintf("Organization %04d", i), limit, at.UnixMilli(), at.UnixMilli()); err != nil {
			return err
		}
		for t := range 5 {
			if err := l.put(ctx, "org_tags", o.id, tag(t)); err != nil {
				return err
			}
		}
		for s := range 2 {
			id := l.id("service-user-", at)
			o.services = append(o.services, id)
			if err := l.put(ctx, "service_users", id, fmt.Sprintf("robot %04d %d", i, s), o.id, at.UnixMilli()); err != nil {
				return err
			}
			if err := l.put(ctx, "role_assignments", id, o.id, "service_user", access.RoleOrgMember, at.UnixMilli()); err != nil {
				return err
			}
		}
		l.orgs = append(l.orgs, o)
	}
	for g := range l.scaled(50) {
		name := fmt.Sprintf("group %02d", g)
		if err := l.put(ctx, "org_groups", name, 10_000_000); err != nil {
			return err
		}
		if g < len(l.orgs) {
			if err := l.put(ctx, "org_group_members", l.orgs[g].id, name); err != nil {
				return err
			}
		}
	}
	l.world.Org, l.world.ServiceUser, l.world.Tag = l.orgs[0].id, l.orgs[0].services[0], tag(1)
	for _, o := range l.orgs[1:min(4, len(l.orgs))] {
		l.world.OtherOrgs = append(l.world.OtherOrgs, o.id)
	}
	return nil
}

// tag names the tags that sessions have, the lower the more of them.
func tag(n int) string { return fmt.Sprintf("team-%02d", n) }

// loadPeople gives each person a role in one organization to three, most of them directly, some through groups.
func (l *loader) loadPeople(ctx context.Context) error {
	groups := l.scaled(1000)
	for g := range groups {
		at := l.from.Add(time.Duration(g) * time.Second).UnixMilli()
		name := groupName(g)
		if err := l.put(ctx, "idp_groups", name, at); err != nil {
			return err
		}
		for _, o := range []*org{l.orgs[g%len(l.orgs)], nil} {
			if o == nil && g%20 != 0 {
				continue
			}
			orgID, role := "", access.RoleEnterpriseMember
			if o != nil {
				orgID, role = o.id, access.RoleOrgMember
			}
			if err := l.put(ctx, "idp_group_roles", name, orgID, role, at); err != nil {
				return err
			}
		}
	}
	l.world.Group = groupName(0)
	for i := range l.scaled(fullUsers) {
		if err := l.loadPerson(ctx, i, groups); err != nil {
			return err
		}
	}
	first := l.orgs[0].users[0]
	l.world.User, l.world.UserEmail = first.id, first.email
	return nil
}

func groupName(g int) string { return fmt.Sprintf("engineers-%04d", g) }

func (l *loader) loadPerson(ctx context.Context, i, groups int) error {
	at := l.from.Add(time.Duration(i) * time.Minute)
	u := &user{id: l.id("user-", at), email: fmt.Sprintf("person%05d@example.com", i)}
	l.users = append(l.users, u)
	if err := l.put(ctx, "users", u.id, u.email, u.email, fmt.Sprintf("Person %d", i), at.UnixMilli()); err != nil {
		return err
	}
	if i%10 == 0 {
		if err := l.put(ctx, "user_acu_limits", u.id, 100_000); err != nil {
			return err
		}
	}
	if i%50 == 0 {
		if err := l.put(ctx, "role_assignments", u.id, "", "user", access.RoleEnterpriseMember, at.UnixMilli()); err != nil {
			return err
		}
	}
	in := map[*org]bool{l.orgs[i%len(l.orgs)]: true}
	for range l.rng.IntN(3) {
		in[l.orgs[l.skewed(len(l.orgs))]] = true
	}
	for _, o := range l.orgs { // in their order, because a map has none
		if !in[o] {
			continue
		}
		o.users = append(o.users, u)
		role := access.RoleOrgMember
		if len(o.users) == 1 {
			role = access.RoleOrgAdmin
		}
		if err := l.put(ctx, "role_assignments", u.id, o.id, "user", role, at.UnixMilli()); err != nil {
			return err
		}
	}
	if i%4 == 0 {
		return l.put(ctx, "idp_group_members", u.id, groupName(l.rng.IntN(groups)), at.UnixMilli())
	}
	return nil
}
