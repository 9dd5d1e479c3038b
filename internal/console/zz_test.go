package console_test

import (
	"testing"
	"strings"

	"github.com/stretchr/testify/require"
	"gantry/internal/access"
	"gantry/internal/member"
	"gantry/internal/servertest"
	"gantry/internal/session"
)

func TestZZ(t *testing.T) {
	s := servertest.New(t, listening)
	admin := s.Admin.Token.Reveal()
	s.NewOrg(t, "Payments"); s.NewOrg(t, "A name of an organization that is rather long, as such names are")
	user, laptop := s.NewPerson(t, "ada.lovelace@example.com", s.Org, access.RoleOrgMember)
	_, err := s.Members.CreatePersonalKey(t.Context(), s.Root(), user, s.Org)
	require.NoError(t, err)
	k := s.NewKey(t, s.Org, access.RoleOrgMember)
	_, err = s.Members.CreateKey(t.Context(), s.Root(), member.CreateKeyParams{ServiceUserID: k.ServiceUserID, Name: "second"})
	require.NoError(t, err)
	s.Revoked(t, s.Org, access.RoleOrgAdmin)
	made := start(t, s, admin, session.CreateParams{OrgID: s.Org, Prompt: "Mend it", Title: "Everything that can go wrong", Repos: nil})
	w := claim(t, s, s.Org)
	w.report("setup", `{"phase":"clone","status":"started"}`,"agent", `{"status":"started","name":"agent","version":"2"}`, "state", `{"state":"working"}`,
		"tool", `{"id":"a","title":"make test","kind":"execute","status":"in_progress","input":{"command":"make test"}}`,
		"tool_output", `{"id":"a","text":"`+strings.Repeat("ok  \\tpackage/number  0.012s\\n", 40)+`"}`,
		"tool", `{"id":"a","status":"completed","exit_code":0}`,
		"tool", `{"id":"b","title":"a call that was lost","status":"interrupted"}`,
		"agent", `{"status":"silent"}`, "agent", `{"status":"restarted","detail":"it said nothing for ten minutes"}`,
		"log", `{"level":"warning","text":"the disk is nearly full"}`, "log", `{"level":"info","text":"network: proxy"}`,
		"turn", `{"status":"ended","command":1,"stop_reason":"max_tokens"}`,
		"message", `{"text":"| a | b |\n|---|---|\n| 1 | 2 |\n\n> quoted\n\n1. one\n2. two\n\nsee https://example.com/x and ~~this~~"}`,
		"structured_output", `{"value":{"ok":true,"list":[1,2,3]}}`,
		"setup", `{"phase":"sandbox","status":"failed","detail":"bwrap: No permissions to create a new namespace"}`,
		"state", `{"state":"error","reason":"the sandbox can't start: no user namespaces"}`)
	for i, c := range []struct{ name string; w, h int64; dark bool }{{"zd", 1280, 1500, true}, {"zp", 360, 1500, false}} {
		_ = i
		v := look(t, s, c.name, c.w, c.h, c.dark)
		v.goTo("/login"); v.write("#key", admin+"\r"); v.reads("Payments"); v.shoot("home"); v.fits()
		v.goTo("/enterprise/keys"); v.reads("Keys of the enterprise"); v.fits(); v.shoot("enterprise")
		v.goTo("/orgs/"+s.Org+"/keys"); v.reads("ada.lovelace"); v.fits(); v.shoot("keys")
		v.goTo("/sessions/"+made.ID); v.reads("Failed"); v.fits(); v.shoot("session")
		v.goTo("/sessions/nothing"); v.reads("Nothing here"); v.fits(); v.shoot("missing")
		v.goTo("/orgs/"+s.Org+"/sessions?tag=none"); v.reads("No session fits"); v.shoot("empty")
		v.tap(".me button"); v.reads("Sign in")
		v.write("#key", laptop+"\r"); v.reads("Sessions")
		v.goTo("/orgs/"+s.Org+"/keys"); v.reads("Your own"); v.fits(); v.shoot("own")
	}
}
