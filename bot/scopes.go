package bot

// Scope is a permission that the Slack app's bot token needs.
type Scope struct {
	Name    string
	Methods []string // of the Web API that need it
	For     string   // what secbot does with it
}

// Scopes are all that secbot's bot token needs, sorted by name: what the manifest
// asks for, and what `secbot doctor` looks for.
func Scopes() []Scope {
	read := []string{"conversations.history", "conversations.replies"}
	look := []string{"conversations.info", "conversations.list"}
	return []Scope{
		{"app_mentions:read", nil, "commands that are said to @secbot"},
		{"channels:history", read, "finding messages again whose posting was interrupted"},
		{"channels:read", look, "finding channels by name, and whether secbot is in them"},
		{"chat:write", []string{"chat.postEphemeral", "chat.postMessage", "chat.update"}, "messages and answers"},
		{"commands", nil, "/secbot"},
		{"files:write", []string{"files.getUploadURLExternal", "files.completeUploadExternal"}, "the picture of `/secbot stats`"},
		{"groups:history", read, "the same in private channels"},
		{"groups:read", look, "the same for private channels"},
		{"im:history", read, "the same in direct messages"},
		{"im:write", []string{"conversations.open"}, "asking somebody whether a change was theirs"},
		{"metadata.message:read", nil, "knowing one's own messages by their metadata"},
		{"usergroups:read", []string{"usergroups.list", "usergroups.users.list"}, "who is in the responders' group"},
		{"users:read", []string{"users.info"}, "who is a guest or of another workspace"},
		{"users:read.email", []string{"users.lookupByEmail"}, "whom a change was made by"},
	}
}

// freeMethods are the methods that secbot calls and that need no scope.
func freeMethods() []string {
	return []string{"auth.test", "chat.getPermalink", "views.open", "views.publish", "views.push", "views.update"}
}

// ScopeNames are the names of Scopes.
func ScopeNames() []string {
	var names []string
	for _, s := range Scopes() {
		names = append(names, s.Name)
	}
	return names
}

// AppScope is what the app-level token of Socket Mode needs, for
// apps.connections.open.
const AppScope = "connections:write"
