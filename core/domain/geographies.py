"""Azure regions and their geographies: a vault's backup restores only within one.

Source: Microsoft, 'Azure regions list' (region, geography). A region that is not listed here is its own geography,
which errs on the side of refusing a restore that Azure would refuse too.
"""

from collections.abc import Mapping
from types import MappingProxyType

_REGIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "United States": (
            "eastus", "eastus2", "centralus", "northcentralus", "southcentralus", "westcentralus", "westus", "westus2",
            "westus3",
        ),
        "Europe": ("northeurope", "westeurope"),
        "United Kingdom": ("uksouth", "ukwest"),
        "France": ("francecentral", "francesouth"),
        "Germany": ("germanywestcentral", "germanynorth"),
        "Switzerland": ("switzerlandnorth", "switzerlandwest"),
        "Norway": ("norwayeast", "norwaywest"),
        "Sweden": ("swedencentral", "swedensouth"),
        "Asia Pacific": ("eastasia", "southeastasia"),
        "Japan": ("japaneast", "japanwest"),
        "Korea": ("koreacentral", "koreasouth"),
        "Australia": ("australiaeast", "australiasoutheast", "australiacentral", "australiacentral2"),
        "India": ("centralindia", "southindia", "westindia"),
        "Canada": ("canadacentral", "canadaeast"),
        "Brazil": ("brazilsouth", "brazilsoutheast"),
        "South Africa": ("southafricanorth", "southafricawest"),
        "United Arab Emirates": ("uaenorth", "uaecentral"),
        "Azure Government": ("usgovvirginia", "usgovtexas", "usgovarizona"),
        "China": ("chinaeast", "chinaeast2", "chinanorth", "chinanorth2", "chinanorth3"),
    }
)  # fmt: skip

_GEOGRAPHY = {region: geography for geography, regions in _REGIONS.items() for region in regions}


def geography_of(location: str) -> str:
    """Return the geography of an ARM location (`westeurope` or `West Europe`)."""
    region = location.replace(" ", "").lower()
    return _GEOGRAPHY.get(region, region)
