package access

// Scope says where a permission counts: for the enterprise, or within one organization.
type Scope string

// The scopes. A role has one of them too.
const (
	Enterprise Scope = "enterprise"
	Org        Scope = "org"
)

// Permission is one right. The zero value is none.
type Permission uint8

// The catalogue of contract/behaviour.md §2.1.
const (
	None Permission = iota

	ReadAccountMeta
	ManageEnterpriseSettings
	ManageIPWhitelist
	ManageOrganizations
	ManageAccountMembership
	ViewAccountMembership
	ManageAccountServiceUsers
	ManageAccountKnowledge
	ManageAccountPlaybooks
	ManageGitIntegrations
	ViewGitIntegrations
	ManageBilling
	ViewAccountConsumption
	ViewAccountMetrics
	ViewEnterpriseInfraDetails
	ViewAccountSessions
	ManageAccountSessions
	UseOutpostsMachine
	ManageOutpostsOrchestrator
	UseAccountCodeScans

	ManageOrgSecrets
	ManageOrgKnowledge
	ManageOrgPlaybooks
	ManageOrgServiceUsers
	ManageOrgSchedules
	ViewOrgSessions
	ManageOrgSessions
	UseDevinSessions
	ImpersonateOrgSessions
	ViewOrgMembership
	ManageOrgMembership
	ViewOrgMetrics
	ViewOrgConsumption
	ManageOrgSnapshots
	ManageOrgSettings
	UseDevinExpert
	ViewOrgAutomations
	ManageOrgAutomations
	UsePersonalAutomations
	ViewOrgRepositories
	IndexOrgRepositories
	ManageRepoBlueprints
	UseReviewManual
	UseCodeScans
	ViewCodeScans

	permissionCount
)

// Entry is one line of the catalogue.
type Entry struct {
	Permission Permission
	Name       string
	Scope      Scope
	Meaning    string
	// Implies are the permissions that come with it. An enterprise permission implies organization permissions in every
	// organization (contract/behaviour.md §2.3).
	Implies []Permission
}

// catalogue is indexed by Permission.
var catalogue = [permissionCount]Entry{
	ReadAccountMeta:            {Name: "ReadAccountMeta", Scope: Enterprise, Meaning: "Read one's own identity; every principal holds it."},
	ManageEnterpriseSettings:   {Name: "ManageEnterpriseSettings", Scope: Enterprise, Meaning: "Read audit logs and change organization tags and enterprise settings."},
	ManageIPWhitelist:          {Name: "ManageIPWhitelist", Scope: Enterprise, Meaning: "Change the IP access list."},
	ManageOrganizations:        {Name: "ManageOrganizations", Scope: Enterprise, Meaning: "Create, read, change and delete organizations and their groups.", Implies: []Permission{ManageOrgSettings}},
	ManageAccountMembership:    {Name: "ManageAccountMembership", Scope: Enterprise, Meaning: "Change who is a member and which roles they hold.", Implies: []Permission{ViewAccountMembership, ManageOrgMembership, ViewOrgMembership}},
	ViewAccountMembership:      {Name: "ViewAccountMembership", Scope: Enterprise, Meaning: "Read members and their roles.", Implies: []Permission{ViewOrgMembership}},
	ManageAccountServiceUsers:  {Name: "ManageAccountServiceUsers", Scope: Enterprise, Meaning: "Provision service users and manage their API keys.", Implies: []Permission{ManageOrgServiceUsers}},
	ManageAccountKnowledge:     {Name: "ManageAccountKnowledge", Scope: Enterprise, Meaning: "Read and change knowledge notes of the enterprise.", Implies: []Permission{ManageOrgKnowledge}},
	ManageAccountPlaybooks:     {Name: "ManageAccountPlaybooks", Scope: Enterprise, Meaning: "Read and change playbooks of the enterprise.", Implies: []Permission{ManageOrgPlaybooks}},
	ManageGitIntegrations:      {Name: "ManageGitIntegrations", Scope: Enterprise, Meaning: "Read git connections and change repository permissions.", Implies: []Permission{ViewGitIntegrations}},
	ViewGitIntegrations:        {Name: "ViewGitIntegrations", Scope: Enterprise, Meaning: "Read git connections and repository permissions."},
	ManageBilling:              {Name: "ManageBilling", Scope: Enterprise, Meaning: "Read consumption and change ACU limits.", Implies: []Permission{ViewAccountConsumption, ViewOrgConsumption}},
	ViewAccountConsumption:     {Name: "ViewAccountConsumption", Scope: Enterprise, Meaning: "Read consumption and ACU limits.", Implies: []Permission{ViewOrgConsumption}},
	ViewAccountMetrics:         {Name: "ViewAccountMetrics", Scope: Enterprise, Meaning: "Read usage metrics and the queue's state.", Implies: []Permission{ViewOrgMetrics}},
	ViewEnterpriseInfraDetails: {Name: "ViewEnterpriseInfraDetails", Scope: Enterprise, Meaning: "Read the workers that run sessions."},
	ViewAccountSessions:        {Name: "ViewAccountSessions", Scope: Enterprise, Meaning: "Read the sessions of every organization.", Implies: []Permission{ViewOrgSessions}},
	ManageAccountSessions:      {Name: "ManageAccountSessions", Scope: Enterprise, Meaning: "Create, message, tag and end sessions of every organization.", Implies: []Permission{ManageOrgSessions, ViewOrgSessions, UseDevinSessions}},
	UseOutpostsMachine:         {Name: "UseOutpostsMachine", Scope: Enterprise, Meaning: "Read the worker queue, claim from it and release."},
	ManageOutpostsOrchestrator: {Name: "ManageOutpostsOrchestrator", Scope: Enterprise, Meaning: "Create and delete outposts.", Implies: []Permission{UseOutpostsMachine}},
	UseAccountCodeScans:        {Name: "UseAccountCodeScans", Scope: Enterprise, Meaning: "Start code scans in every organization.", Implies: []Permission{UseCodeScans, ViewCodeScans}},

	ManageOrgSecrets:       {Name: "ManageOrgSecrets", Scope: Org, Meaning: "List, create and delete secrets."},
	ManageOrgKnowledge:     {Name: "ManageOrgKnowledge", Scope: Org, Meaning: "Read and change knowledge notes."},
	ManageOrgPlaybooks:     {Name: "ManageOrgPlaybooks", Scope: Org, Meaning: "Read and change playbooks."},
	ManageOrgServiceUsers:  {Name: "ManageOrgServiceUsers", Scope: Org, Meaning: "Provision service users of the organization."},
	ManageOrgSchedules:     {Name: "ManageOrgSchedules", Scope: Org, Meaning: "Read and change schedules."},
	ViewOrgSessions:        {Name: "ViewOrgSessions", Scope: Org, Meaning: "Read sessions, their messages, events and attachments."},
	ManageOrgSessions:      {Name: "ManageOrgSessions", Scope: Org, Meaning: "Message, tag, archive and terminate sessions; create them."},
	UseDevinSessions:       {Name: "UseDevinSessions", Scope: Org, Meaning: "Create sessions and upload attachments for them."},
	ImpersonateOrgSessions: {Name: "ImpersonateOrgSessions", Scope: Org, Meaning: "Create sessions and send messages on behalf of a member."},
	ViewOrgMembership:      {Name: "ViewOrgMembership", Scope: Org, Meaning: "Read the organization's members."},
	ManageOrgMembership:    {Name: "ManageOrgMembership", Scope: Org, Meaning: "Change the organization's members.", Implies: []Permission{ViewOrgMembership}},
	ViewOrgMetrics:         {Name: "ViewOrgMetrics", Scope: Org, Meaning: "Read the organization's usage metrics."},
	ViewOrgConsumption:     {Name: "ViewOrgConsumption", Scope: Org, Meaning: "Read the organization's consumption."},
	ManageOrgSnapshots:     {Name: "ManageOrgSnapshots", Scope: Org, Meaning: "Build and pin environment snapshots."},
	ManageOrgSettings:      {Name: "ManageOrgSettings", Scope: Org, Meaning: "Change the organization's settings."},
	UseDevinExpert:         {Name: "UseDevinExpert", Scope: Org, Meaning: "Use the older advanced session modes."},
	ViewOrgAutomations:     {Name: "ViewOrgAutomations", Scope: Org, Meaning: "Read automations."},
	ManageOrgAutomations:   {Name: "ManageOrgAutomations", Scope: Org, Meaning: "Change automations.", Implies: []Permission{ViewOrgAutomations}},
	UsePersonalAutomations: {Name: "UsePersonalAutomations", Scope: Org, Meaning: "Have automations run as oneself; people only."},
	ViewOrgRepositories:    {Name: "ViewOrgRepositories", Scope: Org, Meaning: "Read the repositories the organization may use."},
	IndexOrgRepositories:   {Name: "IndexOrgRepositories", Scope: Org, Meaning: "Start and stop the indexing of repositories."},
	ManageRepoBlueprints:   {Name: "ManageRepoBlueprints", Scope: Org, Meaning: "Read and change environment blueprints."},
	UseReviewManual:        {Name: "UseReviewManual", Scope: Org, Meaning: "Ask for pull request reviews and read them."},
	UseCodeScans:           {Name: "UseCodeScans", Scope: Org, Meaning: "Start code scans and act on findings.", Implies: []Permission{ViewCodeScans}},
	ViewCodeScans:          {Name: "ViewCodeScans", Scope: Org, Meaning: "Read code scans and findings."},
}

var byName = func() map[string]Permission {
	m := make(map[string]Permission, permissionCount)
	for p := None + 1; p < permissionCount; p++ {
		catalogue[p].Permission = p
		m[catalogue[p].Name] = p
	}
	return m
}()

// Catalogue lists every permission in its documented order.
func Catalogue() []Entry { return append([]Entry(nil), catalogue[1:]...) }

// Named finds a permission by its name.
func Named(name string) (Permission, bool) {
	p, ok := byName[name]
	return p, ok
}

// String is the permission's name.
func (p Permission) String() string {
	if p >= permissionCount {
		return "unknown"
	}
	return catalogue[p].Name
}

// Scope says where the permission counts.
func (p Permission) Scope() Scope { return catalogue[p].Scope }
