// Package v1 is the door of API version 1 (contract/legacy.md §2): wire types, conversions and nothing else. The organization is the
// credential's; the rooms behind are those of every version.
package v1

import (
	"net/http"
	"strings"

	"gantry/internal/api/older"
	"gantry/internal/audit"
	"gantry/internal/kit"
	"gantry/internal/knowledge"
	"gantry/internal/member"
	"gantry/internal/playbook"
	"gantry/internal/secrets"
	"gantry/internal/session"
	"gantry/internal/usage"
)

// Rooms are the use cases behind the door, and who tells its credentials.
type Rooms struct {
	Authenticator kit.Authenticator
	Audit         *audit.Service
	Knowledge     *knowledge.Service
	Members       *member.Service
	Playbooks     *playbook.Service
	Secrets       *secrets.Service
	Sessions      *session.Service
	Usage         *usage.Service
}

var registrations []func(*kit.API, Rooms)

// New registers every operation of the version on the kit's router. With the zero Rooms it serves to emit the document.
func New(k *kit.Kit, rooms Rooms) *kit.API {
	a := kit.NewAPI(k, kit.Version{
		Title:         "Gantry API v1",
		Version:       "1",
		Description:   "The first API, for programs that were written for it. New ones use v3.",
		Prefixes:      []string{"/v1/"},
		Form:          kit.FastAPI,
		Rewrite:       rewrite,
		Deprecated:    older.Deprecated,
		Authenticator: rooms.Authenticator,
	})
	for _, register := range registrations {
		register(a, rooms)
	}
	return a
}

// rewrite knows the singular paths, v3's spelling of a message's, the audit logs' second place, a session's end without the version (one
// page printed it so; with any other method the path is not the API's), and a slash at the end.
func rewrite(method, path string) string {
	if method == http.MethodDelete && strings.HasPrefix(path, "/sessions/") {
		path = "/v1" + path
	}
	if !strings.HasPrefix(path, "/v1/") {
		return path
	}
	path = strings.TrimRight(path, "/")
	if path == "/v1/enterprise/audit-logs" {
		return "/v1/audit-logs"
	}
	if rest, ok := strings.CutPrefix(path, "/v1/session/"); ok {
		path = "/v1/sessions/" + rest
	}
	if strings.HasPrefix(path, "/v1/sessions/") && strings.Count(path, "/") == 4 {
		if rest, ok := strings.CutSuffix(path, "/messages"); ok {
			return rest + "/message"
		}
	}
	return path
}
