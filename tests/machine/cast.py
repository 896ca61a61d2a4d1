"""The start of each sequence: people, accounts, clients and apps, in the model and in the portal."""

from django.contrib.auth.models import Group

from portal.accounts.actions import teams
from tests import factories

from .beside import name
from .model import Model
from .things import Account, Member, Person, Team, Teammate
from .world import World


def base():
    """The cast: a team with its test account, two customers, a client of each kind, and two published apps."""
    factories.product()
    dev, mate = factories.person("Dev"), factories.person("Max", team=False)
    team = factories.team_of(dev)
    teams.add_teammate(team, mate, role="member", by=dev)
    staff = factories.person("Sue", team=False, is_staff=True, is_superuser=True)
    both = {"is_staff": True, "groups": [Group.objects.get(name="Reviewers")]}
    rita = factories.person("Rita", team=False, **both)

    def person(user, **more):
        return name(Person(user.email, name=user.name, **more), user)

    developer, teammate = person(dev), person(mate)
    world = World(Model(name(Team(name="the team"), team)))
    model = world.model
    for mate, role in ((developer, "owner"), (teammate, "member")):
        found = team.memberships.get(user=mate.pk)
        model.team.mates.append(name(Teammate(mate, role, name=f"{mate.name} in the team"), found))
    model.people += [developer, teammate, person(rita, reviewer=True), person(staff, runs_the_portal=True)]
    test = name(Account(name="the test account", test_of=model.team), team.test_account)
    test.members.append(name(Member(developer, test, "admin", name="Dev in test"), dev.memberships.get()))
    model.accounts.append(test)
    for slug, names in (("acme", "Ada Ann Axel Ana"), ("globex", "Gus Gia")):
        account = name(Account(name=slug), factories.account(slug))
        model.accounts.append(account)
        for each in names.split():
            model.people.append(person(factories.person(each, team=False)))
            world.add_member(account, model.people[-1], "admin" if each in ("Ada", "Ann", "Gus") else "agent", None)
    # One person is an agent of both.
    world.add_member(model.accounts[2], model.people[6], "agent", None)
    view, edit, delete = factories.VIEW, factories.EDIT, factories.DELETE
    for external in (False, True):
        for agent_level in (False, True):
            client = world.create_client(external, agent_level, {view, edit, delete}, developer)
            if not external:
                app = world.create_app(client, developer)
                version = world.create_version(app, {view}, {edit}, developer)
                world.submit(version, developer)
                world.decide(version, "approved", model.people[2])
                world.publish(version, developer)
                world.install(app, model.accounts[1], model.people[4])
    return model
