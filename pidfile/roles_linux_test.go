package pidfile

// systemRoles are the roles that only this system has.
var systemRoles = map[string]func(args []string) error{
	"tree":  growTree,
	"reuse": reusePid,
	"blind": lookBlindly,

	"leaderless": endFirstThread,
}
