package kit

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
)

// ownOrg stands in a path for the credential's own organization until authentication has told which it is.
const ownOrg = "~"

const (
	v3Orgs     = "/v3/organizations/"
	v3betaOrgs = "/v3beta1/organizations/"
	v3beta     = "/v3beta1/"
	v3         = "/v3/"
)

// collections are the first segments below /organizations that are no organization ids (contract/v3-rules.md "Short forms").
var collections = map[string]bool{
	"sessions": true, "attachments": true, "knowledge": true, "playbooks": true, "schedules": true, "secrets": true,
	"consumption": true, "metrics": true, "pr-reviews": true, "automations": true, "code-scans": true, "searches": true,
	"members": true, "service-users": true, "repositories": true, "snapshot-setup": true,
}

// rewrite turns short and older forms into the paths that are registered: what each version says of its own, then
// /organizations/<collection> gets `~` for the organization, and /v3beta1/x that isn't an operation of its own becomes /v3/x
// (contract/behaviour.md §19.5, §19.6).
func (k *Kit) rewrite(r *http.Request) {
	for _, a := range k.apis {
		if a.rewrite == nil {
			continue
		}
		if path := a.rewrite(r.Method, r.URL.Path); path != r.URL.Path {
			r.URL.Path = path
			if r.URL.RawPath != "" {
				r.URL.RawPath = a.rewrite(r.Method, r.URL.RawPath)
			}
			return
		}
	}
	if !strings.HasPrefix(r.URL.Path, "/v3") {
		return
	}
	path, raw := longForm(r.URL.Path), r.URL.RawPath
	if raw != "" {
		raw = longForm(raw)
	}
	if strings.HasPrefix(path, v3beta) {
		match := path
		if raw != "" {
			match = raw
		}
		if !k.mux.Match(chi.NewRouteContext(), r.Method, match) {
			path = v3 + path[len(v3beta):]
			if raw != "" {
				raw = v3 + strings.TrimPrefix(raw, v3beta)
			}
		}
	}
	r.URL.Path, r.URL.RawPath = path, raw
}

// longForm puts `~` before a collection that stands where an organization's id belongs.
func longForm(path string) string {
	var at int
	switch {
	case strings.HasPrefix(path, v3Orgs):
		at = len(v3Orgs)
	case strings.HasPrefix(path, v3betaOrgs):
		at = len(v3betaOrgs)
	default:
		return path
	}
	segment, _, _ := strings.Cut(path[at:], "/")
	if !collections[segment] {
		return path
	}
	return path[:at] + ownOrg + "/" + path[at:]
}
