"""The feature: groups, which people create, join and leave."""

from __future__ import annotations

from chatsvc.api.feature import Feature
from chatsvc.core.limits import Limits
from chatsvc.features.groups import api, ban_api, commands, invitation_api, link_api, member_api
from chatsvc.features.groups.bans import GroupBans
from chatsvc.features.groups.error_codes import ERROR_CODES
from chatsvc.features.groups.invitations import GroupInvitations
from chatsvc.features.groups.links import GroupLinks
from chatsvc.features.groups.members import GroupMembers
from chatsvc.features.groups.records import (
    GROUP,
    INVITATION,
    MEMBERSHIP,
    GroupFrame,
    InvitationFrame,
    MembershipFrame,
)
from chatsvc.features.groups.service import GroupService
from chatsvc.log.base import MessageLog
from chatsvc.log.deciding import Deciding
from chatsvc.log.merging import Merging
from chatsvc.storage.history.memberships import Memberships
from chatsvc.storage.history.repeats import Repeats


def feature(
    *,
    log: MessageLog,
    deciding: Deciding,
    merging: Merging,
    memberships: Memberships,
    repeats: Repeats,
    limits: Limits,
) -> Feature:
    """Return the feature.

    Args:
        log: where what is decided goes, and whose state is read.
        deciding: makes decisions against that state.
        merging: the same, of requests that wait together.
        memberships: asked for those that the log has let go of.
        repeats: finds what a ``client_id`` was used for.
        limits: the bounds of groups.
    """
    service = GroupService(log=log, deciding=deciding, repeats=repeats, limits=limits)
    members = GroupMembers(log=log, merging=merging, limits=limits)
    bans = GroupBans(log=log, deciding=deciding, memberships=memberships)
    invitations = GroupInvitations(log=log, deciding=deciding)
    links = GroupLinks(log=log, merging=merging, limits=limits)
    return Feature(
        name="groups",
        kinds=(GROUP, MEMBERSHIP, INVITATION),
        frames=(GroupFrame, MembershipFrame, InvitationFrame),
        operations=(
            *api.operations(service, limits),
            *member_api.operations(members, limits),
            *ban_api.operations(bans, limits),
            *invitation_api.operations(invitations, limits),
            *link_api.operations(links, service),
        ),
        commands=commands.commands(service, members, links),
        error_codes=ERROR_CODES,
    )
