package server

import "gantry/internal/org"

// remains are what rooms keep of an organization, in the order in which it goes when one is deleted.
func (r *Rooms) remains(g *Ground) []org.Remains {
	return []org.Remains{
		{Name: "secrets", Secret: true, EndTx: r.Secrets.EndOrgTx, Purge: org.Bit(r.Secrets.PurgeOrg)},
		{Name: "session_secrets", Secret: true, Purge: r.Sessions.PurgeSecrets},
		{Name: "insights", Purge: org.Bit(r.Insights.PurgeOrg)},
		{Name: "sessions", Purge: r.Sessions.PurgeSessions},
		{Name: "texts", Purge: org.Bit(r.Sessions.PurgeTexts)},
		{Name: "files", Purge: org.Bit(r.Sessions.PurgeFiles)},
		{Name: "schedules", Purge: org.Bit(r.Schedules.PurgeOrg)},
		{Name: "knowledge", Purge: org.Bit(r.Knowledge.PurgeOrg)},
		{Name: "playbooks", Purge: org.Bit(r.Playbooks.PurgeOrg)},
		{Name: "git", Purge: org.Bit(r.Forge.PurgeOrg)},
		{Name: "keys", Purge: org.Bit(r.Members.PurgeOrg)},
		{Name: "data_key", Purge: org.Bit(g.Keeper.Forget)},
	}
}
