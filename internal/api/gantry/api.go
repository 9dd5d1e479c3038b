// Package gantry is the door for what the contract lacks, under /gantry/v1: events, approvals, workers, repositories, custom
// roles.
package gantry

import (
	"net/url"

	"gantry/internal/fleet"
	"gantry/internal/forge"
	"gantry/internal/kit"
	"gantry/internal/knowledge"
	"gantry/internal/member"
	"gantry/internal/session"
)

// Rooms are the use cases behind the door.
type Rooms struct {
	Sessions  *session.Service
	Fleet     *fleet.Service
	Forge     *forge.Service
	Knowledge *knowledge.Service
	Members   *member.Service
	// PublicURL builds the gateway's addresses.
	PublicURL *url.URL
}

var registrations []func(*kit.API, Rooms)

// New registers every operation on the kit's router. With the zero Rooms it serves to emit the document.
func New(k *kit.Kit, rooms Rooms) *kit.API {
	a := kit.NewAPI(k, kit.Version{
		Title:       "Gantry's own API",
		Version:     "1",
		Description: "What the contract lacks: events, approvals, workers, repositories and custom roles.",
		Prefixes:    []string{"/gantry/v1/", "/downloads/"},
		Form:        kit.Problem,
	})
	for _, register := range registrations {
		register(a, rooms)
	}
	return a
}
