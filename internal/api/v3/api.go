// Package v3 is the door of API version 3, /v3 and /v3beta1: wire types and operations, one self-registering file per resource.
//
// Its types are the contract's (contract/v3-rules.md); the rooms behind it know none of them. A new resource is a new file whose
// init appends to registrations.
package v3

import (
	"gantry/internal/audit"
	"gantry/internal/fleet"
	"gantry/internal/forge"
	"gantry/internal/insight"
	"gantry/internal/kit"
	"gantry/internal/knowledge"
	"gantry/internal/member"
	"gantry/internal/metric"
	"gantry/internal/org"
	"gantry/internal/playbook"
	"gantry/internal/schedule"
	"gantry/internal/secrets"
	"gantry/internal/session"
	"gantry/internal/usage"
)

// Rooms are the use cases behind the door. Each resource file names what it needs.
type Rooms struct {
	Audit     *audit.Service
	Fleet     *fleet.Service
	Forge     *forge.Service
	Knowledge *knowledge.Service
	Members   *member.Service
	Metrics   *metric.Service
	Insights  *insight.Service
	Orgs      *org.Service
	Playbooks *playbook.Service
	Sessions  *session.Service
	Usage     *usage.Service
	Schedules *schedule.Service
	Secrets   *secrets.Service
}

var registrations []func(*kit.API, Rooms)

// New registers every operation of the version on the kit's router. With the zero Rooms it serves to emit the document.
func New(k *kit.Kit, rooms Rooms) *kit.API {
	a := kit.NewAPI(k, kit.Version{
		Title:       "Gantry API v3",
		Version:     "3",
		Description: "Sessions, organizations, members and everything else, for programs.",
		Prefixes:    []string{"/v3/", "/v3beta1/"},
		Form:        kit.Problem,
	})
	for _, register := range registrations {
		register(a, rooms)
	}
	return a
}
