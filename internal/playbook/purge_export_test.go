package playbook

// PurgeQueries are what a purge does over and over.
var PurgeQueries = purgeQueries
