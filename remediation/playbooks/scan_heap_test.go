package playbooks_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"testing"
	"time"

	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// endless is an EC2 of as many groups as one likes, of five rules each, none of
// which it holds.
type endless struct{ groups int }

const endlessRules = 5

func (e endless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	fmt.Fprint(w, "<Response>")
	defer fmt.Fprint(w, "</Response>")
	if r.Form.Get("Action") == "DescribeSecurityGroupRules" {
		fmt.Fprint(w, "<securityGroupRuleSet>")
		for i := 1; r.Form.Has("Filter.1.Value." + strconv.Itoa(i)); i++ {
			id := r.Form.Get("Filter.1.Value." + strconv.Itoa(i))
			for n := range endlessRules {
				fmt.Fprintf(w, "<item><securityGroupRuleId>sgr-%s%d</securityGroupRuleId><groupId>%s</groupId><groupOwnerId>111122223333</groupOwnerId><isEgress>false</isEgress>"+
					"<ipProtocol>tcp</ipProtocol><fromPort>%d</fromPort><toPort>%d</toPort><cidrIpv4>10.0.0.0/8</cidrIpv4></item>", id, n, id, 1000+n, 1000+n)
			}
		}
		fmt.Fprint(w, "</securityGroupRuleSet>")
		return
	}
	from, _ := strconv.Atoi(r.Form.Get("NextToken")) // none: the first page
	fmt.Fprint(w, "<securityGroupInfo>")
	for i := from; i < min(from+1000, e.groups); i++ {
		fmt.Fprintf(w, "<item><ownerId>111122223333</ownerId><groupId>sg-%08d</groupId><groupName>g%d</groupName><ipPermissions>", i, i)
		for n := range endlessRules {
			fmt.Fprintf(w, "<item><ipProtocol>tcp</ipProtocol><fromPort>%d</fromPort><toPort>%d</toPort><ipRanges><item><cidrIp>10.0.0.0/8</cidrIp></item></ipRanges></item>", 1000+n, 1000+n)
		}
		fmt.Fprint(w, "</ipPermissions></item>")
	}
	fmt.Fprint(w, "</securityGroupInfo>")
	if from+1000 < e.groups {
		fmt.Fprintf(w, "<nextToken>%d</nextToken>", from+1000)
	}
}

// liveHeap scans and gives the most bytes that were live at the end of a page.
func liveHeap(t *testing.T, rules int) uint64 {
	srv := httptest.NewServer(endless{rules / endlessRules})
	defer srv.Close()
	scanner := playbooks.Readers(playbooks.NewClients(awsConfig(srv.URL), "111122223333", testRegion))[remediation.KindSecurityGroup].(remediation.Scanner)
	var most, none uint64
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	none = m.HeapAlloc
	seen := 0
	for l, err := range scanner.Scan(t.Context(), remediation.Looking{Now: time.Now, Closely: all}) {
		if err != nil {
			t.Fatal(err)
		}
		if s := must(l.State(t.Context()))(t).(*playbooks.GroupState); len(s.Rules) != endlessRules || !l.Close {
			t.Fatalf("%+v", s)
		}
		if seen++; seen%1000 == 1 { // all of the page is there
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc-min(none, m.HeapAlloc))
		}
	}
	if seen != rules/endlessRules {
		t.Fatalf("%d groups", seen)
	}
	return most
}

// TestScanInConstantMemory: four times the rules take the memory of two pages as well,
// of that which is looked at and of that which comes next.
func TestScanInConstantMemory(t *testing.T) {
	liveHeap(t, 5_000) // what is made once
	few, many := liveHeap(t, 25_000), liveHeap(t, 100_000)
	t.Logf("25,000 rules: %d KB live, 100,000: %d KB", few>>10, many>>10)
	if many > few+few/2 {
		t.Errorf("25,000 rules take %d KB, 100,000 take %d KB", few>>10, many>>10)
	}
}
