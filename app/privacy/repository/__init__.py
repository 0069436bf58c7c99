"""Every statement of what is handed out of a person and what is erased."""

from app.privacy.repository.erasing import ErasureRepository
from app.privacy.repository.exports import DataExportRepository

__all__ = ["DataExportRepository", "ErasureRepository"]
