package data

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gantry/internal/access"
	"gantry/internal/server"
)

// Case is one question to the API, asked by an enterprise admin.
type Case struct {
	// Name is the operation with the filter that is asked for.
	Name string
	Path string
	// Deep says that a page far into the list is meant: its cursor is to be found first, by reading on from Path.
	Deep bool
}

// document is what of an OpenAPI document the cases are made from.
type document struct {
	Paths map[string]map[string]struct {
		Parameters []struct {
			Name, In string
			Required bool
		}
	}
}

// notLists are operations that are neither lists nor sums: files, and what is kept in memory.
var notLists = []string{"/v3/organizations/{org_id}/attachments/{uuid}/{name}", "/v3/self", "/v3beta1/enterprise/self"}

// Cases asks everything that v3 may be asked of the world: each GET operation as it is, with each of its filters alone, and a page far
// into each list. They are made from the emitted document, so nothing is forgotten: an unknown parameter is an error.
func (w World) Cases() ([]Case, error) {
	text, err := server.OpenAPI("v3")
	if err != nil {
		return nil, err
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, err
	}
	var out []Case
	for path, ops := range d.Paths {
		op, ok := ops["get"]
		if !ok || slices.Contains(notLists, path) {
			continue
		}
		base, filters, deep := url.Values{}, []string{}, false
		for _, p := range op.Parameters {
			switch {
			case p.In != "query" || p.Name == "first" || p.Name == "limit" || p.Name == "offset":
			case p.Name == "after":
				deep = true
			case p.Required:
				base.Set(p.Name, w.whole(p.Name))
			default:
				filters = append(filters, p.Name)
			}
		}
		full, err := w.fill(path)
		if err != nil {
			return nil, err
		}
		add := func(name string, q url.Values, deep bool) {
			c := Case{Name: strings.TrimPrefix(path, "/") + name, Path: full, Deep: deep}
			if len(q) > 0 {
				c.Path += "?" + q.Encode()
			}
			out = append(out, c)
		}
		add("", base, false)
		if deep {
			add(" (deep)", base, true)
		}
		for _, f := range filters {
			q, err := w.filter(path, f)
			if err != nil {
				return nil, err
			}
			for k, v := range base {
				q[k] = append(q[k], v...)
			}
			add("?"+f, q, false)
		}
	}
	slices.SortFunc(out, func(a, b Case) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// whole is a required time: together the whole year.
func (w World) whole(name string) string {
	if name == "time_after" {
		return unix(w.From)
	}
	return unix(w.Until)
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// fill puts ids into a path.
func (w World) fill(path string) (string, error) {
	if strings.HasPrefix(path, "/v3/enterprise/playbooks/") {
		return "/v3/enterprise/playbooks/" + w.EnterprisePlaybook, nil
	}
	out := strings.NewReplacer(
		"{org_id}", w.Org, "{devin_id}", "devin-"+w.Session, "{session_id}", "devin-"+w.Session, "{user_id}", w.User,
		"{service_user_id}", w.ServiceUser, "{idp_group_name}", w.Group, "{note_id}", w.Note, "{playbook_id}", w.Playbook,
		"{schedule_id}", w.Schedule, "{connection_id}", w.Connection, "{role_id}", access.RoleOrgAdmin,
	).Replace(path)
	if strings.Contains(out, "{") {
		return "", fmt.Errorf("%s has a parameter without a value: give it one in fill", path)
	}
	return out, nil
}

// filter gives the query of one optional filter.
func (w World) filter(path, name string) (url.Values, error) {
	middle := w.From.Add(w.Until.Sub(w.From) / 2)
	later := middle.Add(30 * day)
	one := func(v ...string) (url.Values, error) { return url.Values{name: v}, nil }
	switch name {
	case "order":
		return one("asc")
	case "time_after", "created_after", "updated_after":
		return one(unix(middle))
	case "time_before":
		if strings.Contains(path, "audit-logs") {
			return url.Values{"time_after": {unix(middle)}, name: {unix(later)}}, nil
		}
		return one(unix(later))
	case "created_before", "updated_before":
		return one(unix(later))
	case "org_ids":
		return one(append([]string{w.Org}, w.OtherOrgs...)...)
	case "min_sessions", "min_searches":
		return one("3")
	case "is_archived", "include_deleted_orgs", "include_inactive", "load_indexing_status":
		return one("true")
	}
	known := map[string]string{
		"session_ids": "devin-" + w.Session, "tags": w.Tag, "playbook_id": w.Playbook, "origins": "api", "category": "bug_fixing", "repo_names": w.Repo,
		"schedule_id": w.Schedule, "automation_ids": "automation-none", "parent_session_id": "devin-" + w.Parent, "user_ids": w.User,
		"service_user_ids": w.ServiceUser, "action": "create_session", "search": "the needle", "folder_path": w.Folder, "pinned_repo": w.Repo,
		"access_type": "enterprise", "email": w.UserEmail, "filter_name": "service-00", "only_repo_paths": w.Repo, "exclude_repo_paths": w.Repo,
		"org_id": w.Org, "status": map[bool]string{true: "active", false: "available"}[strings.Contains(path, "api-keys")],
	}
	if known[name] == "" {
		return nil, fmt.Errorf("%s has a filter %s without a value: give it one in filter", path, name)
	}
	return one(known[name])
}
